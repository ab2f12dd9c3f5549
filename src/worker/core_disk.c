/* core_disk - what the core does with blobs on disk: what is saved is given to the disk, what lies
 * there is asked for when a prompt needs it. A sequence that waits for one waits without a slot,
 * and the others go on (prefix_disk.h). */
#include "worker/core_impl.h"

#include "base/log.h"
#include "base/mem.h"

/* Nothing else is to be done than wait for the disk: so long at a time, for commands come, too. */
enum { IDLE_WAIT_US = 1000 };

static void on_found(void *ctx, uint64_t scope, const token_id *ids, uint32_t count,
                     uint64_t blob_bytes)
{
    struct core *core = ctx;
    prefix_tree_on_disk(core->tree, scope, ids, count, (size_t)blob_bytes);
}

void core_disk_open(struct core *core)
{
    struct err_note note = {{0}};
    const struct prefix_disk_options *options = &core->options.prefix_disk;
    if (options->bytes_max == 0 || !core->engine->info.can_save)
        return;
    enum err err =
        prefix_disk_open(options, &core->engine->info, &core->disk, &note, on_found, core);
    if (err != ERR_OK)
        log_event(LOG_WARN, "prefix_disk_off", "note=%s",
                  log_quote(slice_str(note.text), sizeof(note.text)));
}

static void on_fetched(struct core *core, struct prefix_disk_news *news)
{
    if (news->is_ok) {
        double us_per_byte = (double)news->spent_us / (double)news->bytes;
        core->price.fetch_us += (us_per_byte - core->price.fetch_us) / 4;
    }
    bool is_known = prefix_tree_has(core->tree, news->scope, news->ids, news->count);
    /* What is not there, or has no room in memory, must not be asked for again and again. */
    if (!is_known &&
        (!news->is_ok || prefix_tree_save(core->tree, news->scope, news->ids, news->count,
                                          &news->blob, news->bytes) != ERR_OK))
        prefix_tree_lost(core->tree, news->scope, news->ids, news->count);
    mem_free(news->blob);
}

void core_disk_poll(struct core *core)
{
    struct prefix_disk_news news;
    bool is_idle = core->counts[SEQ_PREFILL] + core->counts[SEQ_DECODE] == 0;
    uint64_t timeout_us = is_idle && prefix_disk_is_fetching(core->disk) ? IDLE_WAIT_US : 0;
    while (prefix_disk_take(core->disk, timeout_us, &news)) {
        timeout_us = 0;
        if (news.is_fetch)
            on_fetched(core, &news);
        else if (news.is_ok)
            prefix_tree_on_disk(core->tree, news.scope, news.ids, news.count, news.bytes);
    }
}

bool core_disk_comes(struct core *core, uint64_t scope, const struct prefix_answer *answer)
{
    if (prefix_disk_is_fetching(core->disk)) /* whatever that is */
        return prefix_disk_fetch(core->disk, scope, NULL, 0);
    token_id *ids = mem_array(answer->blob_count, sizeof(*ids));
    prefix_tree_ids(core->tree, ids);
    bool comes = prefix_disk_fetch(core->disk, scope, ids, answer->blob_count);
    mem_free(ids);
    return comes;
}
