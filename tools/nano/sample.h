/* sample - one conversation of the nano model's world: what is asked, and what it should say.
 * Training renders the whole and learns from it; the evaluator renders it up to its last answer,
 * lets the model go on, and asks the family to judge (family.h).
 *
 * 1. The text is the one that the chat template (chat_template.jinja) makes of the same messages
 *    and tools: a test compares them.
 * 2. No content begins or ends with white space or contains "<|": so turns are cut by special
 *    tokens alone.
 * 3. What does not fit SAMPLE_BYTES_MAX or SAMPLE_TURNS_MAX is our bug (ASSERT): families choose
 *    their lengths.
 * Belongs to one thread. */
#pragma once

#include "base/text.h"

enum {
    SAMPLE_BYTES_MAX = 32 * 1024,
    SAMPLE_TURNS_MAX = 24,
    SAMPLE_NEEDLES_MAX = 16,
    SAMPLE_SPANS_MAX = SAMPLE_TURNS_MAX * 2 + 2,
};

enum speaker {
    SPEAKER_SYSTEM, /* first turn only */
    SPEAKER_USER,
    SPEAKER_ASSISTANT, /* a tool call is its text: <tool_call>\n{"name": ..}\n</tool_call> */
    SPEAKER_TOOL,      /* rendered as a user's turn in <tool_response> */
};

struct turn {
    enum speaker speaker;
    uint32_t begin, bytes; /* in sample.bytes */
    bool is_learned;       /* of an assistant's turn: its tokens weigh fully */
};

struct sample {
    struct text bytes;
    struct turn turns[SAMPLE_TURNS_MAX];
    size_t turn_count;
    uint32_t tools_begin, tools_bytes; /* a JSON object per line: what is offered; 0: none */
    /* What an answer must contain to be right, for families that judge so; in sample.bytes. */
    struct turn needles[SAMPLE_NEEDLES_MAX];
    size_t needle_count;
    unsigned kind; /* the family's own: which sort of question this is */
};

void sample_init(struct sample *sample);
void sample_fini(struct sample *sample);
void sample_clear(struct sample *sample); /* keeps its memory */

void sample_say(struct sample *sample, enum speaker speaker, struct slice text);
/* One more tool: an object on one line, which is spaced as the template's tojson does. */
void sample_offer(struct sample *sample, struct slice tool_json);
void sample_need(struct sample *sample, struct slice needle);

struct slice sample_text(const struct sample *sample, size_t turn); /* good until more is said */
struct slice sample_needle(const struct sample *sample, size_t index);
/* The last turn, which is an assistant's: what the model should say. */
struct slice sample_answer(const struct sample *sample);

/* A piece of a rendering and how much its tokens weigh in training: 0..100 percent. */
struct span {
    uint32_t end; /* in the rendering; it begins where the one before ends */
    uint8_t weight;
};

struct rendering {
    struct text text;
    struct span spans[SAMPLE_SPANS_MAX];
    size_t span_count;
};

void rendering_init(struct rendering *rendering);
void rendering_fini(struct rendering *rendering);
/* The conversation as the template writes it. An assistant's text with its <|im_end|> weighs 100
 * when it is learned, all else SAMPLE_CONTEXT_WEIGHT. */
enum { SAMPLE_CONTEXT_WEIGHT = 10 };
void sample_render(const struct sample *sample, struct rendering *out);
/* Up to and with the "<|im_start|>assistant\n" of the last answer. */
void sample_render_prompt(const struct sample *sample, struct text *out);
