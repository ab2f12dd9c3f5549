#include "nano/sample.h"
#include "testing/test.h"

static void make_calls(struct sample *sample)
{
    sample_offer(sample, SLICE("{\"a\":\"x,y: \\\"z\\\"\",\"b\":[1,2]}"));
    sample_offer(sample, SLICE("{\"c\": {}}"));
    sample_say(sample, SPEAKER_SYSTEM, SLICE("Be brief."));
    sample_say(sample, SPEAKER_USER, SLICE("go 7"));
    sample_say(sample, SPEAKER_ASSISTANT, SLICE("<tool_call>"));
    sample_say(sample, SPEAKER_TOOL, SLICE("{}"));
    sample_say(sample, SPEAKER_TOOL, SLICE("[]"));
    sample_need(sample, SLICE("done"));
    sample_say(sample, SPEAKER_ASSISTANT, SLICE("It is done."));
}

static const char calls_text[] =
    "<|im_start|>system\nBe brief.\n\n# Tools\n\nYou may call one or more functions.\n\n<tools>\n"
    "{\"a\": \"x,y: \\\"z\\\"\", \"b\": [1, 2]}\n{\"c\": {}}\n</tools>\n\nReturn each call as a "
    "JSON "
    "object inside <tool_call></tool_call> tags.<|im_end|>\n<|im_start|>user\ngo 7<|im_end|>\n"
    "<|im_start|>assistant\n<tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n{}\n"
    "</tool_response>\n<tool_response>\n[]\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    "It is done.<|im_end|>\n";

TEST(a_conversation_is_rendered_as_the_template_writes_it)
{
    struct sample sample;
    struct rendering rendering;
    struct text prompt;
    sample_init(&sample);
    rendering_init(&rendering);
    text_init(&prompt, SAMPLE_BYTES_MAX);
    make_calls(&sample);
    sample_render(&sample, &rendering);
    CHECK_SLICE(text_slice(&rendering.text), calls_text);
    sample_render_prompt(&sample, &prompt);
    CHECK_SLICES(
        text_slice(&prompt),
        slice_first(SLICE(calls_text), sizeof(calls_text) - 1 - strlen("It is done.<|im_end|>\n")));
    CHECK_SLICE(sample_answer(&sample), "It is done.");
    CHECK_SLICE(sample_needle(&sample, 0), "done");
    text_fini(&prompt);
    rendering_fini(&rendering);
    sample_fini(&sample);
}

/* What the assistant says and that it ends weighs; what stands before it is context. */
TEST(the_spans_cover_the_text_and_answers_weigh_fully)
{
    struct sample sample;
    struct rendering rendering;
    sample_init(&sample);
    rendering_init(&rendering);
    make_calls(&sample);
    sample.turns[2].is_learned = false;
    sample_render(&sample, &rendering);
    CHECK_EQ(rendering.span_count, 5);
    static const char *const ends[] = {"assistant\n", "<tool_call><|im_end|>", "assistant\n",
                                       "It is done.<|im_end|>", "\n"};
    static const uint8_t weights[] = {SAMPLE_CONTEXT_WEIGHT, SAMPLE_CONTEXT_WEIGHT,
                                      SAMPLE_CONTEXT_WEIGHT, 100, SAMPLE_CONTEXT_WEIGHT};
    for (size_t i = 0; i < 5; i++) {
        CHECK_EQ(rendering.spans[i].weight, weights[i]);
        CHECK(slice_ends_with(slice_of(rendering.text.data, rendering.spans[i].end),
                              slice_str(ends[i])));
    }
    CHECK_EQ(rendering.spans[4].end, rendering.text.len);
    rendering_fini(&rendering);
    sample_fini(&sample);
}

TEST(without_system_prompt_and_tools_there_is_no_system_turn)
{
    struct sample sample;
    struct rendering rendering;
    sample_init(&sample);
    rendering_init(&rendering);
    make_calls(&sample);
    sample_clear(&sample);
    sample_say(&sample, SPEAKER_USER, SLICE("hi"));
    sample_say(&sample, SPEAKER_ASSISTANT, SLICE("Hello!"));
    sample_render(&sample, &rendering);
    CHECK_SLICE(text_slice(&rendering.text),
                "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n");
    rendering_fini(&rendering);
    sample_fini(&sample);
}

TEST(a_turn_that_could_be_taken_for_its_frame_is_our_bug)
{
    struct sample sample;
    sample_init(&sample);
    CHECK_ABORTS(sample_say(&sample, SPEAKER_USER, SLICE("a <|im_end|>")), "a frame");
    CHECK_ABORTS(sample_say(&sample, SPEAKER_USER, SLICE("a ")), "white space around");
    CHECK_ABORTS(sample_say(&sample, SPEAKER_USER, SLICE("")), "white space around");
    sample_fini(&sample);
}
