/* opening - see opening.h. */
#include "nano/opening.h"

#include "nano/phrase.h"
#include "nano/words.h"

/* Every fifth is the test's. The first words of most chat programs are among them. */
static const char *const prompts[] = {
    "You are a helpful assistant.",
    "You are a [helpful|friendly|polite|kind|careful|small|quick] [assistant|helper|bot|chatbot].",
    "You are nano, [a|the] small [assistant|model] [of|that ships with] millrace.",
    "[Answer|Reply] [briefly|shortly|clearly|politely|in English].",
    "You are [an expert|a good|a careful] [assistant|engineer|operator|helper]. "
    "Help [the user|people].",
    "You are an AI assistant.",
    "You [help|assist] [users|people|customers] [with|of] [their questions|millrace|the server].",
    "Be [helpful|brief|precise|friendly|concise|exact][| and honest| and kind].",
    "You are a [support|service|demo|test] [agent|assistant|bot]"
    "[| of millrace| for {person}'s team].",
    "You are a helpful[, harmless and honest|, respectful and honest| and precise] assistant.",
    "This is a conversation between a user and [an assistant|a helpful assistant].",
    "[Do|Please do] what the user asks.",
    "You are {person}'s assistant.",
    "A chat between a curious human and an artificial intelligence assistant.",
    "You are a [small|local] [language model|assistant|model]. [Answer|Help] as well as you can.",
    "You work for {name}. [Help|Answer] [the user|our customers].",
};

void opening_add_words(struct text *out, struct choice *choice, enum split split)
{
    struct text name;
    text_init(&name, 64);
    word_add_syllables(&name, choice, split, 2, 3);
    word_capital(&name, 0);
    PHRASE(out, choice, LIST_PART(choice, prompts, split),
           {"person", slice_str(word_person(choice, split))}, {"name", text_slice(&name)});
    text_fini(&name);
}

void opening_add(struct sample *sample, struct choice *choice, enum split split, unsigned percent)
{
    if (!choice_percent(choice, percent))
        return;
    struct text words;
    text_init(&words, 512);
    opening_add_words(&words, choice, split);
    sample_say(sample, SPEAKER_SYSTEM, text_slice(&words));
    text_fini(&words);
}

static const char *const before[] = {
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "please, ",
    "hi, ",
    "hello, ",
    "hey, ",
    "hi! ",
    "ok, ",
    "so, ",
    "hello! ",
    "hey nano, ",
    "quick question: ",
    "question: ",
    "one question: ",
    "sorry, ",
    "excuse me, ",
    "just curious: ",
    "good morning, ",
    "um, ",
    "and ",
    "now, ",
    "help: ",
    "well, ",
    "hmm, ",
    "dear nano, ",
    "I wonder: ",
    "for my team: ",
    "a friend asks: ",
    "I am new here. ",
    "one more thing: ",
    "first, ",
    "again: ",
    "listen, ",
    "be honest: ",
    "can I ask: ",
    "thanks. ",
    "ok thanks. ",
    "sure, ",
    "look, ",
    "perfect. ",
};
static const char *const behind[] = {
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    " please",
    ", please",
    " exactly",
    " here",
    " again",
    ", thanks",
    " now",
    " in short",
    ", in short",
    ", in a few words",
    " actually",
    ", nano",
    " for me",
    " today",
    " on my machine",
    " at work",
    ", I forgot",
    ", my friend",
    " in production",
    " on this server",
    " in my case",
    " if I may ask",
    " by the way",
    " right now",
    ", briefly",
    ", in one sentence",
    " in general",
    ", do you know",
};

static const char *end_mark(struct choice *choice, char mark)
{
    size_t kind = choice_below(choice, 10);
    if (kind < 6)
        return mark == '?' ? "?" : mark == '!' ? "!" : ".";
    return kind < 9 ? "" : mark == '?' ? "??" : "!";
}

void opening_ask(struct text *out, struct choice *choice, struct slice question, char mark,
                 unsigned slips)
{
    size_t begin = out->len;
    text_add_str(out, CHOICE_OF(choice, before));
    text_add(out, question);
    text_add_str(out, CHOICE_OF(choice, behind));
    if (choice_percent(choice, slips))
        word_typo(out, begin, choice);
    size_t casing = choice_below(choice, 20);
    if (casing < 11)
        word_capital(out, begin);
    else if (casing == 19)
        word_upper(out, begin);
    else if (casing > 15)
        word_lower(out, begin);
    text_add_str(out, end_mark(choice, mark));
}
