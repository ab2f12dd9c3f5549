/* sample - turns in one run of bytes, and the text that the chat template makes of them. */
#include "nano/sample.h"

void sample_init(struct sample *sample)
{
    *sample = (struct sample){0};
    text_init(&sample->bytes, SAMPLE_BYTES_MAX);
}

void sample_fini(struct sample *sample)
{
    text_fini(&sample->bytes);
}

void sample_clear(struct sample *sample)
{
    struct text bytes = sample->bytes;
    text_clear(&bytes);
    *sample = (struct sample){.bytes = bytes};
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* Rule 2: what a turn says cannot be taken for its frame. */
static void check_content(struct slice text)
{
    ASSERT_MSG(text.len > 0 && !is_space(text.data[0]) && !is_space(text.data[text.len - 1]),
               "white space around \"" SLICE_FMT "\"", SLICE_ARG(text));
    ASSERT_MSG(slice_find(text, SLICE("<|")) == SLICE_NPOS, "a frame in \"" SLICE_FMT "\"",
               SLICE_ARG(text));
}

/* The bytes from `begin` on become the next turn. */
static void end_turn(struct sample *sample, enum speaker speaker, size_t begin)
{
    ASSERT_MSG(!sample->bytes.overflowed, "a sample of more than %d bytes", SAMPLE_BYTES_MAX);
    ASSERT_MSG(sample->turn_count < SAMPLE_TURNS_MAX, "a sample of more than %d turns",
               SAMPLE_TURNS_MAX);
    ASSERT(speaker != SPEAKER_SYSTEM || sample->turn_count == 0);
    check_content(slice_of(sample->bytes.data + begin, sample->bytes.len - begin));
    sample->turns[sample->turn_count++] =
        (struct turn){.speaker = speaker,
                      .begin = (uint32_t)begin,
                      .bytes = (uint32_t)(sample->bytes.len - begin),
                      .is_learned = speaker == SPEAKER_ASSISTANT};
}

void sample_say(struct sample *sample, enum speaker speaker, struct slice text)
{
    size_t begin = sample->bytes.len;
    text_add(&sample->bytes, text);
    end_turn(sample, speaker, begin);
}

/* As tojson of the template writes it: a space behind the colons and commas between values. */
static void add_spaced_json(struct text *out, struct slice json)
{
    bool in_string = false;
    for (size_t i = 0; i < json.len; i++) {
        char byte = json.data[i];
        text_add_byte(out, byte);
        if (in_string && byte == '\\')
            text_add_byte(out, json.data[++i]);
        else if (byte == '"')
            in_string = !in_string;
        else if (!in_string && (byte == ',' || byte == ':') && json.data[i + 1] != ' ')
            text_add_byte(out, ' ');
    }
}

void sample_offer(struct sample *sample, struct slice tool_json)
{
    struct text *bytes = &sample->bytes;
    if (sample->tools_bytes == 0) {
        sample->tools_begin = (uint32_t)bytes->len;
    } else {
        ASSERT_MSG(bytes->len == sample->tools_begin + sample->tools_bytes,
                   "tools are offered one behind the other");
        text_add_byte(bytes, '\n');
    }
    ASSERT(tool_json.len > 1 && tool_json.data[0] == '{' &&
           tool_json.data[tool_json.len - 1] == '}');
    ASSERT(slice_find_byte(tool_json, '\n') == SLICE_NPOS);
    add_spaced_json(bytes, tool_json);
    ASSERT_MSG(!bytes->overflowed, "a sample of more than %d bytes", SAMPLE_BYTES_MAX);
    sample->tools_bytes = (uint32_t)(bytes->len - sample->tools_begin);
}

void sample_need(struct sample *sample, struct slice needle)
{
    ASSERT_MSG(sample->needle_count < SAMPLE_NEEDLES_MAX, "more than %d needles",
               SAMPLE_NEEDLES_MAX);
    size_t begin = sample->bytes.len;
    text_add(&sample->bytes, needle);
    ASSERT_MSG(!sample->bytes.overflowed, "a sample of more than %d bytes", SAMPLE_BYTES_MAX);
    sample->needles[sample->needle_count++] =
        (struct turn){.begin = (uint32_t)begin, .bytes = (uint32_t)needle.len};
}

static struct slice bytes_of(const struct sample *sample, const struct turn *turn)
{
    return slice_of(sample->bytes.data + turn->begin, turn->bytes);
}

struct slice sample_text(const struct sample *sample, size_t turn)
{
    ASSERT(turn < sample->turn_count);
    return bytes_of(sample, &sample->turns[turn]);
}

struct slice sample_needle(const struct sample *sample, size_t index)
{
    ASSERT(index < sample->needle_count);
    return bytes_of(sample, &sample->needles[index]);
}

struct slice sample_answer(const struct sample *sample)
{
    ASSERT(sample->turn_count > 0);
    const struct turn *last = &sample->turns[sample->turn_count - 1];
    ASSERT(last->speaker == SPEAKER_ASSISTANT);
    return bytes_of(sample, last);
}

/* -- the template, as chat_template.jinja says it -------------------------- */

void rendering_init(struct rendering *rendering)
{
    *rendering = (struct rendering){0};
    /* Frames and the words around tools come on top of what the sample holds. */
    text_init(&rendering->text, SAMPLE_BYTES_MAX + 64 * SAMPLE_TURNS_MAX + 512);
}

void rendering_fini(struct rendering *rendering)
{
    text_fini(&rendering->text);
}

static bool begins_with_system(const struct sample *sample)
{
    return sample->turn_count > 0 && sample->turns[0].speaker == SPEAKER_SYSTEM;
}

static void render_system(const struct sample *sample, struct text *out)
{
    bool has_system = begins_with_system(sample);
    if (!has_system && sample->tools_bytes == 0)
        return;
    text_add_str(out, "<|im_start|>system\n");
    if (has_system)
        text_add(out, sample_text(sample, 0));
    if (sample->tools_bytes > 0) {
        text_add_str(out, has_system ? "\n\n" : "");
        text_add_str(out, "# Tools\n\nYou may call one or more functions.\n\n<tools>\n");
        text_add(out, slice_of(sample->bytes.data + sample->tools_begin, sample->tools_bytes));
        text_add_str(out, "\n</tools>\n\nReturn each call as a JSON object inside "
                          "<tool_call></tool_call> tags.");
    }
    text_add_str(out, "<|im_end|>\n");
}

/* Results that follow each other share one user's turn. */
static void render_result(const struct sample *sample, size_t index, struct text *out)
{
    if (index == 0 || sample->turns[index - 1].speaker != SPEAKER_TOOL)
        text_add_str(out, "<|im_start|>user");
    text_add_str(out, "\n<tool_response>\n");
    text_add(out, sample_text(sample, index));
    text_add_str(out, "\n</tool_response>");
    if (index + 1 == sample->turn_count || sample->turns[index + 1].speaker != SPEAKER_TOOL)
        text_add_str(out, "<|im_end|>\n");
}

static void end_span(struct rendering *out, uint8_t weight)
{
    uint32_t begin = out->span_count ? out->spans[out->span_count - 1].end : 0;
    if (out->text.len == begin)
        return;
    ASSERT(out->span_count < SAMPLE_SPANS_MAX);
    out->spans[out->span_count++] = (struct span){.end = (uint32_t)out->text.len, .weight = weight};
}

static void render_answer(const struct sample *sample, size_t index, struct rendering *out)
{
    text_add_str(&out->text, "<|im_start|>assistant\n");
    end_span(out, SAMPLE_CONTEXT_WEIGHT);
    text_add(&out->text, sample_text(sample, index));
    text_add_str(&out->text, "<|im_end|>");
    end_span(out, sample->turns[index].is_learned ? 100 : SAMPLE_CONTEXT_WEIGHT);
    text_add_str(&out->text, "\n");
}

/* The first `turn_count` turns. */
static void render_turns(const struct sample *sample, size_t turn_count, struct rendering *out)
{
    text_clear(&out->text);
    out->span_count = 0;
    render_system(sample, &out->text);
    for (size_t i = begins_with_system(sample) ? 1 : 0; i < turn_count; i++) {
        switch (sample->turns[i].speaker) {
        case SPEAKER_USER:
            text_add_str(&out->text, "<|im_start|>user\n");
            text_add(&out->text, sample_text(sample, i));
            text_add_str(&out->text, "<|im_end|>\n");
            break;
        case SPEAKER_TOOL:
            render_result(sample, i, &out->text);
            break;
        default:
            render_answer(sample, i, out);
        }
    }
    end_span(out, SAMPLE_CONTEXT_WEIGHT);
    ASSERT(text_status(&out->text) == ERR_OK);
}

void sample_render(const struct sample *sample, struct rendering *out)
{
    render_turns(sample, sample->turn_count, out);
}

void sample_render_prompt(const struct sample *sample, struct text *out)
{
    ASSERT(sample->turn_count > 0 &&
           sample->turns[sample->turn_count - 1].speaker == SPEAKER_ASSISTANT);
    struct rendering rendering;
    rendering_init(&rendering);
    render_turns(sample, sample->turn_count - 1, &rendering);
    text_clear(out);
    text_add(out, text_slice(&rendering.text));
    text_add_str(out, "<|im_start|>assistant\n");
    rendering_fini(&rendering);
}
