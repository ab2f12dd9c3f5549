/* What was saved is there for the next core, from the disk; and nothing is lost with the disk but
 * time. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/toy_engine.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLOTS = 2, CONTEXT = 250, SHARED = 100, PROMPT = SHARED + 3, ANSWER = 5 };

struct rig {
    struct toy_engine toy;
    struct probes probes;
    token_id prompts[PROBES_MAX][PROMPT];
};

static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/core_disk_test.XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

static uint32_t each_file(void (*fn)(const char *path))
{
    uint32_t count = 0;
    char path[400];
    DIR *listing = opendir(folder);
    for (struct dirent *entry; (entry = readdir(listing));) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        bool is_blob = strstr(entry->d_name, ".kv") != NULL;
        count += is_blob;
        if (fn && is_blob)
            fn(path);
    }
    closedir(listing);
    return count;
}

static void remove_file(const char *path)
{
    CHECK(unlink(path) == 0);
}

static void damage(const char *path)
{
    int file = open(path, O_WRONLY);
    CHECK(file >= 0 && lseek(file, -1, SEEK_END) > 0);
    CHECK(write(file, "?", 1) == 1);
    close(file);
}

static void remove_folder(void)
{
    char path[100];
    each_file(remove_file);
    snprintf(path, sizeof(path), "%s/secret", folder);
    remove_file(path);
    CHECK(rmdir(folder) == 0);
}

static struct rig *rig_new(size_t prefix_bytes_max)
{
    struct rig *rig = mem_alloc(sizeof(*rig));
    struct core_options options = core_options_default();
    options.prefix_bytes_max = prefix_bytes_max;
    options.prefix_disk =
        (struct prefix_disk_options){.folder = folder,
                                     .bytes_max = 1 << 20,
                                     .patience_us = UINT64_MAX, /* on a busy machine, too */
                                     .key = "toy"};
    toy_engine_init(&rig->toy, SLOTS, CONTEXT, 32);
    probes_init(&rig->probes, &rig->toy.engine, &options);
    return rig;
}

static void rig_free(struct rig *rig)
{
    probes_fini(&rig->probes);
    mem_free(rig);
}

/* All begin with the same SHARED tokens, which are marked as a system prompt. */
static struct probe *start(struct rig *rig, size_t index, uint64_t scope)
{
    probe_fill_prompt(rig->prompts[index], PROMPT, SHARED, index);
    struct probe *probe = probe_make(&rig->probes, index, rig->prompts[index], PROMPT);
    probe->job.max_tokens = ANSWER;
    probe->job.ignore_eos = true;
    probe->job.scope = scope;
    probe->job.system_tokens = SHARED;
    probe_start(&rig->probes, index);
    return probe;
}

static struct probe ask_one(size_t prefix_bytes_max, size_t index, uint64_t scope)
{
    struct rig *rig = rig_new(prefix_bytes_max);
    struct probe *probe = start(rig, index, scope);
    probes_run(&rig->probes);
    CHECK(probe->is_ended && !probe->is_failed && probe->id_count == ANSWER);
    struct probe told = *probe;
    rig_free(rig);
    return told;
}

TEST(what_one_core_saved_the_next_one_finds)
{
    make_folder();
    struct probe first = ask_one(1 << 20, 0, 7);
    CHECK_EQ(first.cached_tokens, 0);
    CHECK_EQ(each_file(NULL), 1);
    struct probe again = ask_one(1 << 20, 0, 7);
    CHECK_EQ(again.cached_tokens, SHARED);
    CHECK(memcmp(again.ids, first.ids, ANSWER * sizeof(token_id)) == 0);
    CHECK_EQ(ask_one(1 << 20, 1, 7).cached_tokens, SHARED);
    remove_folder();
}

TEST(nothing_of_one_scope_is_found_in_another)
{
    make_folder();
    CHECK_EQ(ask_one(1 << 20, 0, 7).cached_tokens, 0);
    CHECK_EQ(ask_one(1 << 20, 0, 8).cached_tokens, 0);
    CHECK_EQ(each_file(NULL), 2);
    CHECK_EQ(ask_one(1 << 20, 0, 8).cached_tokens, SHARED);
    remove_folder();
}

/* It shows when it is asked for: the prompt is then put in. */
TEST(a_damaged_file_costs_only_time)
{
    make_folder();
    struct probe first = ask_one(1 << 20, 0, 7);
    each_file(damage);
    struct probe again = ask_one(1 << 20, 0, 7);
    CHECK_EQ(again.cached_tokens, 0);
    CHECK(memcmp(again.ids, first.ids, ANSWER * sizeof(token_id)) == 0);
    CHECK_EQ(ask_one(1 << 20, 0, 7).cached_tokens, SHARED); /* it was saved again */
    remove_folder();
}

TEST(a_file_that_has_no_room_in_memory_is_asked_for_once)
{
    make_folder();
    CHECK_EQ(ask_one(1 << 20, 0, 7).cached_tokens, 0);
    CHECK_EQ(ask_one(10, 0, 7).cached_tokens, 0);
    remove_folder();
}

TEST(a_file_that_was_taken_away_costs_only_time)
{
    make_folder();
    CHECK_EQ(ask_one(1 << 20, 0, 7).cached_tokens, 0);
    struct rig *rig = rig_new(1 << 20);
    each_file(remove_file);
    struct probe *first = start(rig, 0, 7), *second = start(rig, 1, 7);
    probes_run(&rig->probes);
    CHECK_EQ(first->cached_tokens, 0);
    CHECK_EQ(second->cached_tokens, SHARED); /* it waited for the first one's */
    rig_free(rig);
    remove_folder();
}

/* Whoever runs goes on while another waits for the disk; who is cancelled meanwhile is gone. */
TEST(a_sequence_that_waits_for_the_disk_can_be_cancelled)
{
    make_folder();
    CHECK_EQ(ask_one(1 << 20, 0, 7).cached_tokens, 0);
    struct rig *rig = rig_new(1 << 20);
    struct probe *probe = start(rig, 0, 7);
    core_cancel(rig->probes.core, probe->job.key);
    probes_run(&rig->probes);
    CHECK(probe->is_ended && probe->reason == DONE_CANCELLED);
    probe = start(rig, 1, 7);
    probes_run(&rig->probes);
    CHECK_EQ(probe->cached_tokens, SHARED);
    rig_free(rig);
    remove_folder();
}

/* The disk has it still to write, from where it lies: nobody waits for that. */
TEST(a_blob_that_the_engine_refuses_while_it_is_written_costs_only_time)
{
    make_folder();
    struct rig *rig = rig_new(1 << 20);
    rig->toy.next_restore = ERR_PROTOCOL;
    struct probe *first = start(rig, 0, 7), *second = start(rig, 1, 7);
    probes_run(&rig->probes);
    CHECK_EQ(rig->toy.next_restore, ERR_OK); /* it was asked */
    CHECK_EQ(first->id_count, ANSWER);
    CHECK_EQ(second->id_count, ANSWER);
    CHECK_EQ(second->cached_tokens, 0);
    rig_free(rig);
    CHECK_EQ(each_file(NULL), 1);
    remove_folder();
}
