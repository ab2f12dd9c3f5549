/* core_probe - makes jobs for tests of the core and gathers what comes out of each. Holds the core
 * to the order of results and to the credit (ASSERT). Test code only. */
#pragma once

#include "worker/core.h"

enum { PROBE_TOKENS_MAX = 1024, PROBES_MAX = 64 };

struct probe {                  /* of the sequence with key = its index + 1 */
    const token_id *prompt;     /* and what is said behind it; borrowed until probe_job() */
    struct core_job job;        /* what will be started; probe_job() makes its memory and flag */
    struct cancel_flag *cancel; /* a ref of our own, from probe_job() on */
    uint64_t event_limit, byte_limit; /* granted so far */

    bool is_started; /* CORE_STARTED came */
    uint32_t prefills, prefill_done;
    struct text text;
    token_id ids[PROBE_TOKENS_MAX];
    uint32_t id_count, delta_count, byte_count;
    bool is_ended, is_failed;
    enum done_reason reason;
    enum fault fault;
    char stop[128], message[128];
    uint32_t prompt_tokens, completion_tokens, cached_tokens;
    uint64_t prefill_us, decode_us;
};

struct probes {
    struct core *core;
    struct core_report report; /* of the last step that said something */
    uint64_t now_us;
    uint32_t slots_free, running, parked; /* of the last report */
    size_t prefix_bytes;
    bool broken;
    uint64_t tokens_sampled; /* of all */
    uint64_t tokens_settled, tokens_drafted, drafts_right;
    uint32_t reports;
    struct probe probe[PROBES_MAX];
};

/* engine NULL: the core is somewhere else, and its reports come by probes_take(). */
void probes_init(struct probes *probes, struct engine *engine, const struct core_options *options);
void probes_fini(struct probes *probes); /* also the core */

/* A prompt for what is found of others': the first `shared` tokens are all prompts', what follows
 * is the index's own. */
void probe_fill_prompt(token_id *out_prompt, uint32_t count, uint32_t shared, size_t index);
/* A job with this prompt (borrowed until probe_start()), greedy, without end of credit, 1000 tokens
 * at most; change what the test is about in the probe's job. */
struct probe *probe_make(struct probes *probes, size_t index, const token_id *prompt,
                         uint32_t prompt_count);
struct core_job *probe_job(struct probe *probe); /* the job, to be started by whoever */
void probe_start(struct probes *probes, size_t index);
void probe_credit(struct probes *probes, size_t index, uint64_t event_limit, uint64_t byte_limit);

void probes_take(struct probes *probes, const struct core_report *report);
/* One step, if there is work; false when there is none. */
bool probes_step(struct probes *probes);
void probes_run(struct probes *probes); /* steps until there is no work */
