/* offer - which tools are offered beside each other. */
#include "nano/offer.h"

enum { INVENTED_PERCENT = 75, ALIKE_PERCENT = 35, BUILT_IN_PERCENT = 8 };

static const struct invented_tool *invented_of(const struct offer *offer, const struct tool *tool)
{
    for (size_t i = 0; i < offer->invented_count; i++) {
        if (tool == &offer->invented[i].tool)
            return &offer->invented[i];
    }
    return NULL;
}

static bool is_taken(const struct offer *offer, const struct tool *tool)
{
    for (size_t i = 0; i < offer->count; i++) {
        if (strcmp(tool->group, offer->tools[i]->group) == 0 ||
            strcmp(tool->name, offer->tools[i]->name) == 0)
            return true;
    }
    return false;
}

/* Has the verb and the noun of one that is offered, or one of them (may_share: that is fine). */
static bool is_ambiguous(const struct offer *offer, const struct invented_tool *tool,
                         bool may_share)
{
    for (size_t i = 0; i < offer->count; i++) {
        const struct invented_tool *other = invented_of(offer, offer->tools[i]);
        if (!other)
            continue;
        bool is_same = tool->verb == other->verb && tool->noun == other->noun;
        if (is_same || (!may_share && invented_is_like(tool, other)))
            return true;
    }
    return false;
}

static const struct invented_tool *some_invented(const struct offer *offer, struct choice *choice)
{
    const struct tool *tool = offer->tools[choice_below(choice, offer->count)];
    return invented_of(offer, tool);
}

static const struct tool *draw_invented(struct offer *offer, bool is_stranger,
                                        struct choice *choice, enum split split)
{
    const struct invented_tool *like = NULL;
    if (!is_stranger && offer->count && choice_percent(choice, ALIKE_PERCENT))
        like = some_invented(offer, choice);
    ASSERT(offer->invented_count < OFFER_TOOLS_MAX + 1);
    struct invented_tool *tool = &offer->invented[offer->invented_count];
    do {
        tool_invent(tool, like, choice, split);
    } while (is_taken(offer, &tool->tool) || is_ambiguous(offer, tool, !is_stranger));
    if (!is_stranger) /* that one's place is the next stranger's too */
        offer->invented_count++;
    return &tool->tool;
}

static const struct tool *draw(struct offer *offer, bool is_stranger, struct choice *choice,
                               enum split split)
{
    if (choice_percent(choice, INVENTED_PERCENT))
        return draw_invented(offer, is_stranger, choice, split);
    const struct tool *tool;
    do { /* there are more groups among them than are ever offered */
        tool = toolbox_draw(choice, split);
    } while (is_taken(offer, tool));
    return tool;
}

static const struct tool *tool_called(const char *name)
{
    for (size_t i = 0; i < toolbox_count; i++) {
        if (strcmp(toolbox[i].name, name) == 0)
            return &toolbox[i];
    }
    ASSERT_MSG(false, "no tool is called %s", name);
    return NULL;
}

/* The tools of an agent of millrace, or two or more of them, in any order. */
static void draw_built_in(struct offer *offer, struct choice *choice)
{
    const char *names[] = {"calculator", "current_time", "memory_search", "memory_add",
                           "knowledge_search"};
    size_t count = choice_percent(choice, 40) ? ARRAY_COUNT(names) : choice_below(choice, 4) + 2;
    for (size_t i = 0; i < count; i++) {
        size_t j = i + choice_below(choice, ARRAY_COUNT(names) - i);
        const char *name = names[j];
        names[j] = names[i];
        names[i] = name;
        offer->tools[offer->count++] = tool_called(name);
    }
}

void offer_make(struct offer *out, struct choice *choice, enum split split)
{
    static const uint8_t counts[] = {1, 1, 2, 2, 2, 3, 3, 4};
    out->count = out->invented_count = 0;
    size_t count = CHOICE_OF(choice, counts);
    if (split == SPLIT_TRAIN && choice_percent(choice, BUILT_IN_PERCENT)) {
        draw_built_in(out, choice);
        count = out->count;
    }
    while (out->count < count) {
        const struct tool *tool = draw(out, false, choice, split);
        out->tools[out->count++] = tool;
    }
    out->wanted = out->tools[choice_below(choice, out->count)];
}

const struct tool *offer_stranger(struct offer *offer, struct choice *choice, enum split split)
{
    return draw(offer, true, choice, split);
}

void offer_tell(const struct offer *offer, struct sample *sample, struct choice *choice)
{
    unsigned style = (unsigned)choice_below(choice, TOOL_STYLES);
    struct text schema;
    text_init(&schema, SAMPLE_BYTES_MAX);
    for (size_t i = 0; i < offer->count; i++) {
        text_clear(&schema);
        tool_add_schema(&schema, offer->tools[i], style);
        sample_offer(sample, text_slice(&schema));
    }
    text_fini(&schema);
}
