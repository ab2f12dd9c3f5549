/* stories - long answers: tales of somebody who wants something, and counting.
 *
 * One grammar of scenes, told in order: who, what is wanted, what is in the way, who helps, how it
 * ends. Each scene has many wordings with many places in them, so that no two tales are the same.
 * Held out: every fifth hero, name and wording of a request. */
#include "nano/opening.h"
#include "nano/phrase.h"
#include "nano/words.h"

#include "base/utf8.h"

#include <stdio.h>

enum {
    /* 150 tokens of a tale: a token is at most four bytes of such text in the mean. */
    LONG_BYTES_LEAST = 600,
    SHORT_BYTES_LEAST = 120,
    SHORT_BYTES_MOST = 900,
    REPEATS_MOST = 2, /* of one sentence */
};

enum kind { KIND_LONG, KIND_EMOJI, KIND_ACCENTS, KIND_CHINESE, KIND_SHORT, KIND_COUNTING };

static const char *const heroes[] = {
    "fox",     "cat",       "dog",        "bear",     "owl",    "mouse",    "rabbit",   "duck",
    "frog",    "turtle",    "squirrel",   "wolf",     "horse",  "goat",     "hen",      "hedgehog",
    "otter",   "badger",    "penguin",    "lion",     "tiger",  "monkey",   "elephant", "camel",
    "swan",    "goose",     "crow",       "beaver",   "deer",   "donkey",   "robot",    "dragon",
    "pirate",  "baker",     "miller",     "sailor",   "wizard", "princess", "knight",   "gardener",
    "painter", "fisherman", "clockmaker", "shepherd", "king",
};
static const char *const accented_names[] = {"Zoë",   "André", "Łukasz", "Chloé", "Jürgen", "Søren",
                                             "Renée", "José",  "Måns",   "Žofie", "Noël",   "Ayşe"};
static const char *const accented_places[] = {
    "a café in Zürich",     "the old town of Málaga",   "a château near Orléans",
    "the harbour of Århus", "a crêperie in Besançon",   "the market of Kraków's Śródmieście",
    "a fjord near Tromsø",  "the hills above Göttingen"};
static const char *const places[] = {
    "a quiet village",
    "a hut at the edge of a dark forest",
    "a small house by the sea",
    "a green valley",
    "an old mill",
    "a town with a tall tower",
    "a farmhouse on a hill",
    "a house on the bank of a wide river",
    "a cave in the mountains",
    "a city of bridges",
    "a hut on an island of sand",
    "a garden full of roses",
    "a lighthouse",
    "the last house of a long street",
    "a tent on a meadow",
};
static const char *const wants[] = {
    "a golden key",
    "the song of the moon",
    "a map of the stars",
    "a warm red coat",
    "the lost bell of the tower",
    "a friend",
    "a boat of their own",
    "the blue stone of the mountain",
    "a seed of the tallest tree",
    "the end of the rainbow",
    "a lamp that never goes out",
    "the oldest book in the world",
    "a cup of water from the silver spring",
    "the way to the sea",
    "a kite that flies at night",
    "the recipe of the best bread",
};
static const char *const obstacles[] = {
    "a river without a bridge",
    "a wall as high as ten houses",
    "a gate with three locks",
    "a thick fog",
    "a bridge with a broken board",
    "a dark tunnel",
    "a steep cliff",
    "a field of sharp thorns",
    "a swamp that made strange sounds",
    "a door with no handle",
    "a storm of cold rain",
    "a maze of tall hedges",
};
static const char *const tries[] = {
    "jump over it",
    "find a way around it",
    "wait until it went away",
    "push against it with all might",
    "walk straight ahead",
    "climb up with bare hands",
    "call for help",
    "build something out of sticks",
    "dig a hole",
    "count to one hundred and start again",
    "make a big noise",
    "go back and take a run",
};
static const char *const helpers[] = {
    "bird",   "old woman", "beetle", "snail",     "little girl", "postman",
    "spider", "toad",      "miner",  "ant",       "whale",       "boy with a drum",
    "tailor", "butterfly", "mole",   "traveller",
};
static const char *const tools[] = {
    "a long rope",      "a piece of chalk", "a wooden spoon", "a ball of wool",
    "a small mirror",   "an old umbrella",  "a candle",       "a box of matches",
    "a silver whistle", "a bag of flour",   "a broken clock", "a red ribbon",
};
static const char *const foods[] = {
    "bread and cheese", "three apples",    "a pot of honey", "some cold soup",  "a bag of nuts",
    "two pears",        "a piece of cake", "dried plums",    "a loaf of bread", "a jar of jam"};
static const char *const hobbies[] = {
    "to listen to the rain",       "to count the clouds",        "to tell jokes to the neighbours",
    "to collect buttons",          "to sing in the morning",     "to bake small cakes",
    "to watch the boats",          "to write letters to nobody", "to sleep in the sun",
    "to dance when nobody looked", "to polish old spoons",       "to draw maps of made-up lands",
};
static const char *const adjectives[] = {
    "little", "clever", "brave",  "shy",   "young", "curious",  "lazy", "proud",
    "gentle", "hungry", "lonely", "funny", "quiet", "stubborn", "kind", "tired"};
static const char *const weathers[] = {"sunny", "rainy", "windy",  "cold", "foggy",
                                       "warm",  "snowy", "bright", "grey", "frosty"};
static const char *const numbers[] = {"two",   "three", "four", "five",
                                      "seven", "nine",  "ten",  "twelve"};

/* The scenes, in order. A tale takes one wording of each, a long one all of them. */
static const char *const scene_who[] = {
    "[Once upon a time|Long ago|Many years ago|In the days of our grandmothers], [there was|there "
    "lived] {a} {adj} {hero} called {name} in {place}.",
    "In {place} lived {a} {adj} {hero}. [Everybody called {him}|The name of the {hero} was] "
    "{name}.",
    "This is the story of {name}, {a} {adj} {hero} from {place}.",
    "{name} was {a} {adj} {hero} who lived in {place}[, far from everything|, near the road|].",
    "[Nobody|Not many people] in {place} knew {name}, the {adj} {hero}[, very well|].",
    "On {a2} {weather} {day}, {name} the {hero} looked out of a window in {place}.",
};
static const char *const scene_habit[] = {
    "{name} [liked|loved] {hobby}[, every day|, most of all on {day}s|].",
    "Every [morning|evening|afternoon] it was {name}'s habit {hobby}.",
    "There was nothing that {he} liked more than {hobby}.",
    "[The neighbours|The others|All the children] laughed, because {name} loved {hobby}.",
    "For {number} years, all that {he} did was {hobby}.",
};
static const char *const scene_want[] = {
    "But there was one thing that {name} wanted: {want}.",
    "One [night|evening], {name} dreamed of {want}[| and could not sleep any more].",
    "Then one {day} {he} heard [a story about|somebody speak of] {want}.",
    "More than anything in the world, {name} wanted {want}.",
    "[An old letter|A picture|A song] told of {want}, and {name} could not forget it.",
    "\"I will find {want},\" said {name} to the [moon|mirror|kettle|cat|wall].",
};
static const char *const scene_doubt[] = {
    "The [neighbours|others|old people] shook their heads. \"Nobody has ever found that,\" they "
    "said.",
    "\"You are too [small|slow|young] for that,\" said everybody.",
    "It was a long way, and {he} was a little afraid.",
    "\"Stay here,\" said the [wind|river|old clock]. \"Here it is warm.\"",
    "{name} thought about it for {number} days and {number} nights.",
    "Some said it was [in the north|in the south|behind the mountains|under the sea], and some "
    "said it was nowhere.",
};
static const char *const scene_leave[] = {
    "So on {a2} {weather} {day} {he} packed {food} and {tool}, and left.",
    "With {food} in one pocket and {tool} in the other, {name} went away.",
    "The next morning was {weather}. {name} took {tool} and {food} and closed the door.",
    "{He} wrote a note, \"Back soon\", put {food} and {tool} into a bag, and walked into the "
    "{weather} morning.",
    "There was no time to lose: {name} grabbed {tool}, forgot {food}, came back for it, and left "
    "again.",
};
static const char *const scene_way[] = {
    "The road went up and down, past [fields|houses|mills] and [sheep|trees|windows], for {number} "
    "days.",
    "{He} walked until the [shoes|feet] hurt, and then a little more.",
    "On the first day {he} saw {number} [geese|trains|clouds], and on the second day nothing at "
    "all.",
    "At night {he} slept under [a bridge|a tree|the stars|an upturned boat] and ate some of the "
    "food.",
    "It was {weather} on the way, and the world was larger than {he} had thought.",
    "{name} asked [a farmer|a milkman|a goat|a signpost] for the way, and the answer was "
    "\"further\".",
};
static const char *const scene_obstacle[] = {
    "Then, [suddenly|on the {nth} day|behind a bend], {he} stood before {obstacle}.",
    "But the road ended at {obstacle}.",
    "Between {name} and the rest of the world there was {obstacle}.",
    "On the {nth} day {he} came to {obstacle}, and there was no other way.",
    "\"Oh no,\" said {name}, for there was {obstacle}.",
};
static const char *const scene_try[] = {
    "{name} tried to {try}, but it did not work.",
    "First {he} tried to {try}. Then {he} tried to {try2}. Nothing helped.",
    "{He} thought that it might help to {try}. It did not help at all.",
    "{number} times {he} tried to {try}, and {number} times {he} fell on the nose.",
    "\"I could {try},\" thought {name}. But that only made things worse.",
};
static const char *const scene_sad[] = {
    "{He} sat down on a stone and [sighed|was sad|almost cried].",
    "\"I will never see {want},\" said {name} [quietly|sadly].",
    "It became dark, and {he} felt very small.",
    "{name} ate the last bit of food and looked at the ground.",
    "For a while there was no sound but the [wind|rain|water].",
};
static const char *const scene_helper[] = {
    "Just then {a3} {helper} came by. \"Why do you look so sad?\" asked the {helper}.",
    "\"Good evening,\" said a voice. It was {a3} {helper}.",
    "Somebody coughed. It was {a3} {helper}, [with a lantern|with a smile|with a very large hat].",
    "After a while {a3} {helper} sat down beside {him}. \"You are not the first here.\"",
    "{A3} {helper} had watched it all. \"That is not how it is done,\" said the {helper}.",
};
static const char *const scene_talk[] = {
    "\"I am looking for {want},\" answered {name}, \"but I cannot go on.\"",
    "{name} told the {helper} everything, from the beginning to {the_obstacle}.",
    "\"Do you know the way?\" asked {name}. \"I know half of it,\" said the {helper}. \"You know "
    "the other half.\"",
    "They shared [the crumbs|a pear|a biscuit] and talked about [the weather|home|the stars], and "
    "then about {the_obstacle}.",
    "\"What is in your bag?\" asked the {helper}. {name} took out {the_tool}.",
};
static const char *const scene_idea[] = {
    "The {helper} looked at {the_tool} and laughed. \"But you have everything you need!\"",
    "\"With {the_tool},\" said the {helper}, \"and the two of us, it will be easy.\"",
    "Together they had an idea. They took {the_tool}, and {number} minutes later it was done.",
    "\"Hold this,\" said the {helper}, and gave one end of an idea to {name}. The other end was "
    "{the_tool}.",
    "It was so simple that nobody had thought of it: {name} used {the_tool}, and the {helper} "
    "counted "
    "to {number}.",
};
static const char *const scene_success[] = {
    "And so they came past {the_obstacle}, [hand in hand|laughing|wet but happy].",
    "{He} held the breath, took {number} steps, and was on the other side.",
    "\"It works!\" cried {name}, and it did.",
    "When the sun came up, {the_obstacle} was behind them.",
    "There was a crack, a splash and a silence, and then they were through.",
};
static const char *const scene_find[] = {
    "Not far from there, under [a stone|an old tree|a bench|a heap of leaves], they found {want}.",
    "And there it was: {want}[, smaller than in the stories but real|, shining in the sun|].",
    "Behind the next hill {name} saw {want}, and did not say a word for {number} minutes.",
    "What they found at the end of the road was {want}. It had been there all the time.",
    "A door opened, and inside was {want}.",
};
static const char *const scene_share[] = {
    "\"Half of it is yours,\" said {name} to the {helper}.",
    "{name} thanked the {helper}, who only smiled and was gone.",
    "\"Come with me,\" said {name}, and the {helper} came.",
    "The {helper} wanted nothing for it but a story, so {name} told this one.",
    "They celebrated with [tea|cake|a song|soup], until the stars came out.",
};
static const char *const scene_home[] = {
    "The way home was much shorter than the way there, as ways home are.",
    "When {name} came home, everybody stood at the [gate|window|door] and waved.",
    "Back in {place}, {he} put {the_tool} on the shelf, where everybody could see it.",
    "At home nothing had changed, except {name}.",
    "It was {weather} again when {he} saw the lights of home.",
};
static const char *const scene_end[] = {
    "And if {he} has not gone away again, {name} still lives there today.",
    "Since then nobody has said that {name} is too [small|slow|young] for anything.",
    "From that day on {name} and the {helper} were friends.",
    "That night {he} slept better than ever before. The end.",
    "And sometimes, on {weather} {day}s, {he} tells the children how it was.",
    "What did {name} learn? That a long road is shorter for two.",
};

#define SCENE(name, short_too)                                                                     \
    {                                                                                              \
        scene_##name, ARRAY_COUNT(scene_##name), short_too                                         \
    }
static const struct {
    const char *const *wordings;
    size_t count;
    bool is_short_too; /* a short tale has these alone */
} scenes[] = {
    SCENE(who, true),      SCENE(habit, false), SCENE(want, true),     SCENE(doubt, false),
    SCENE(leave, false),   SCENE(way, false),   SCENE(obstacle, true), SCENE(try, false),
    SCENE(sad, false),     SCENE(helper, true), SCENE(talk, false),    SCENE(idea, true),
    SCENE(success, false), SCENE(find, true),   SCENE(share, false),   SCENE(home, false),
    SCENE(end, true),
};

/* Who and what a tale is of; drawn before the request, which names some of it. */
struct tale {
    const char *hero, *adjective, *place, *want, *obstacle, *helper, *tool, *food;
    struct text name;
    bool is_she;
};

static void draw_tale(struct tale *tale, struct choice *choice, enum split split, enum kind kind)
{
    tale->hero = LIST_PART(choice, heroes, split);
    tale->adjective = CHOICE_OF(choice, adjectives);
    tale->place =
        kind == KIND_ACCENTS ? CHOICE_OF(choice, accented_places) : CHOICE_OF(choice, places);
    tale->want = CHOICE_OF(choice, wants);
    tale->obstacle = CHOICE_OF(choice, obstacles);
    tale->helper = CHOICE_OF(choice, helpers);
    tale->tool = CHOICE_OF(choice, tools);
    tale->food = CHOICE_OF(choice, foods);
    tale->is_she = strcmp(tale->hero, "princess") == 0 ||
                   (strcmp(tale->hero, "king") != 0 && choice_percent(choice, 50));
    if (kind == KIND_ACCENTS) {
        text_add_str(&tale->name, CHOICE_OF(choice, accented_names));
    } else if (choice_percent(choice, 70)) {
        text_add_str(&tale->name, word_person(choice, split));
    } else {
        word_add_syllables(&tale->name, choice, split, 2, 3);
        word_capital(&tale->name, 0);
    }
}

static const char *article(const char *word)
{
    return strchr("aeiou", word[0]) ? "an" : "a";
}

/* "a long rope" that is known by now: "the long rope". */
static void add_definite(struct text *out, const char *thing)
{
    const char *space = strchr(thing, ' ');
    text_init(out, 128);
    text_add_f(out, "the%s", space);
}

static void add_scene(struct text *out, struct choice *choice, const struct tale *tale,
                      size_t scene)
{
    static const char *const days[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                       "Friday", "Saturday", "Sunday"};
    static const char *const nths[] = {"second", "third", "fourth", "fifth", "seventh"};
    const char *weather = CHOICE_OF(choice, weathers), *an = article(tale->helper);
    size_t try = choice_below(choice, ARRAY_COUNT(tries));
    struct text the_obstacle, the_tool;
    add_definite(&the_obstacle, tale->obstacle);
    add_definite(&the_tool, tale->tool);
    const struct slot slots[] = {
        {"the_obstacle", text_slice(&the_obstacle)},
        {"the_tool", text_slice(&the_tool)},
        {"name", text_slice(&tale->name)},
        {"hero", slice_str(tale->hero)},
        {"adj", slice_str(tale->adjective)},
        {"a", slice_str(article(tale->adjective))},
        {"a2", slice_str(article(weather))},
        {"a3", slice_str(an)},
        {"A3", slice_str(an[1] ? "An" : "A")},
        {"he", slice_str(tale->is_she ? "she" : "he")},
        {"He", slice_str(tale->is_she ? "She" : "He")},
        {"him", slice_str(tale->is_she ? "her" : "him")},
        {"place", slice_str(tale->place)},
        {"want", slice_str(tale->want)},
        {"obstacle", slice_str(tale->obstacle)},
        {"helper", slice_str(tale->helper)},
        {"tool", slice_str(tale->tool)},
        {"food", slice_str(tale->food)},
        {"hobby", slice_str(CHOICE_OF(choice, hobbies))},
        {"try", slice_str(tries[try])},
        {"try2", slice_str(tries[(try + 1) % ARRAY_COUNT(tries)])},
        {"weather", slice_str(weather)},
        {"day", slice_str(CHOICE_OF(choice, days))},
        {"nth", slice_str(CHOICE_OF(choice, nths))},
        {"number", slice_str(CHOICE_OF(choice, numbers))},
    };
    size_t begin = out->len;
    phrase_add(out, choice,
               slice_str(scenes[scene].wordings[choice_below(choice, scenes[scene].count)]), slots,
               ARRAY_COUNT(slots));
    word_capital(out, begin);
    text_fini(&the_obstacle);
    text_fini(&the_tool);
}

static void add_tale(struct text *out, struct choice *choice, const struct tale *tale,
                     enum kind kind)
{
    /* Paragraphs of some sentences, as people write; a short one has one. */
    size_t paragraph = kind == KIND_SHORT ? SIZE_MAX : (size_t)choice_between(choice, 3, 6);
    for (size_t scene = 0, told = 0; scene < ARRAY_COUNT(scenes); scene++) {
        if (kind == KIND_SHORT && !scenes[scene].is_short_too)
            continue;
        if (told > 0)
            text_add_str(out, told % paragraph == 0 ? "\n\n" : " ");
        add_scene(out, choice, tale, scene);
        if (kind == KIND_EMOJI && choice_percent(choice, 60))
            text_add_f(out, " %s", word_emoji(choice));
        told++;
    }
}

static const char *const long_words[] = {
    "[Tell|Write] me a [long |]story",
    "[Tell|Write] me a [long |]story about {a} {hero}",
    "[tell|write] [me |]a [long |]story about {name}[| the {hero}]",
    "a [long |]story about {a} {hero}",
    "[Can|Could] you [tell|write] [me |]a [long |]story [with|about] {a} {hero}",
    "[Write|Tell] a [long |]story about {a} {hero} called {name}",
    "[I want|I would like] [to hear |][a story|a long story] about {a} {hero}",
    "[Write|Tell me] a fairy tale about {a} {hero}",
    "[Tell me|Write] a [long |]story about {name} and {a} {helper}",
    "[Please tell|Tell] me a [long |]story of {a} {hero}",
    "[S|s]tory[: | about ]{a} {hero}",
    "[Tell|Write] me a [very |]long [story|tale]",
    "[Write|Invent|Make up] a story about {a} {hero} and {a3} {helper}",
    "[Tell|Read] me a bedtime story[| about {a} {hero}]",
    "[Tell|Give] me a [long |]tale about {a} {hero}[| named {name}]",
    "[Write|Tell me] a [long |]story in which {a} {hero} looks for {want}",
    "[Do you know|Have you got] a [long |]story about {a} {hero}",
    "[Begin|Start|Go on with] a story about {a} {hero}",
    "[Write|Tell] something long about {a} {hero}",
    "[Write|Tell me] a [long |]story for [children|my son|my daughter] about {a} {hero}",
};
static const char *const emoji_words[] = {
    "[Tell|Write] me a [long |]story with emoji",
    "[Tell|Write] [me |]a [long |]story about {a} {hero} with [emoji|emojis|many emoji]",
    "[a|one] story with [emoji|emojis] about {a} {hero}",
    "[Use emoji: tell|With emoji, tell] me a story about {a} {hero}",
    "[Write|Tell me] an emoji story about {a} {hero}",
};
static const char *const accent_words[] = {
    "[Tell|Write] me a [long |]story with accented [words|letters]",
    "[Tell|Write] [me |]a [long |]story with names like {name}",
    "[Tell me|Write] a story [in|from] {place}",
    "[Tell|Write] [me |]a [long |]story about {name} from {place}",
    "a story with [accents|accented words|letters like é and ü]",
};
static const char *const short_words[] = {
    "[Tell|Write] me a short story[| about {a} {hero}]",
    "[Write|Tell] a [short|very short] story about {a} {hero}",
    "a short story about {a} {hero}",
    "[Tell me|Write] a story about {a} {hero} in a few [sentences|words]",
    "[Can|Could] you tell me a short story about {a} {hero}",
    "[Short story|A little story]: {a} {hero}",
    "[Write|Tell me] a [little|brief|small] story about {a} {hero}",
    "[I want|Give me] a short story [about|with] {a} {hero}",
    "[Tell|Write] a short tale of {a} {hero}[| and {a3} {helper}]",
    "[Only a short story|A brief story] about {a} {hero}, please",
};
static const struct {
    const char *const *words;
    size_t count;
} requests[] = {
    [KIND_LONG] = {long_words, ARRAY_COUNT(long_words)},
    [KIND_EMOJI] = {emoji_words, ARRAY_COUNT(emoji_words)},
    [KIND_ACCENTS] = {accent_words, ARRAY_COUNT(accent_words)},
    [KIND_SHORT] = {short_words, ARRAY_COUNT(short_words)},
};

static void make_tale(struct sample *sample, struct choice *choice, enum split split,
                      enum kind kind)
{
    /* Not opening_ask(): "in short" is no way to ask for a long one. */
    static const char *const before[] = {"",        "",     "",        "",       "",
                                         "please ", "hi, ", "hello! ", "nano, ", "now "};
    static const char *const behind[] = {"", "", ".", ".", ".", "!", ", please.", ", please"};
    struct tale tale = {0};
    struct text question, asked, answer;
    text_init(&tale.name, 64);
    text_init(&question, 512);
    text_init(&asked, 1024);
    text_init(&answer, 8192);
    draw_tale(&tale, choice, split, kind);
    add_tale(&answer, choice, &tale, kind);
    const char *pattern = requests[kind].words[list_part(choice, requests[kind].count, split)];
    PHRASE(&question, choice, pattern, {"name", text_slice(&tale.name)},
           {"hero", slice_str(tale.hero)}, {"a", slice_str(article(tale.hero))},
           {"a3", slice_str(article(tale.helper))}, {"helper", slice_str(tale.helper)},
           {"want", slice_str(tale.want)}, {"place", slice_str(tale.place)});
    text_add_str(&asked, CHOICE_OF(choice, before));
    if (asked.len > 0) /* the wordings begin with a capital, and no name is their first word */
        question.data[0] = (char)(question.data[0] | 0x20);
    text_add(&asked, text_slice(&question));
    if (choice_percent(choice, 70))
        word_capital(&asked, 0);
    text_add_str(&asked, CHOICE_OF(choice, behind));
    ASSERT(!answer.overflowed);
    sample_say(sample, SPEAKER_USER, text_slice(&asked));
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&answer));
    text_fini(&answer);
    text_fini(&asked);
    text_fini(&question);
    text_fini(&tale.name);
}

/* -- Chinese --------------------------------------------------------------- */

static const char *const zh_scenes[][4] = {
    {"从前，在{place}住着一只{adj}的{hero}，名叫{name}。",
     "很久以前，{place}有一只{adj}的{hero}，大家都叫它{name}。",
     "这是{name}的故事，它是一只住在{place}的{hero}。",
     "在{place}，有一只{adj}的{hero}，它的名字叫{name}。"},
    {"{name}每天早上都喜欢听鸟儿唱歌。", "{name}最喜欢在河边看月亮。",
     "它常常一个人坐在大树下数星星。", "每到下雨天，{name}就坐在窗前听雨。"},
    {"有一天，{name}听说远方有{want}，心里非常想要。", "一天晚上，它梦见了{want}，再也睡不着了。",
     "{name}最大的愿望就是找到{want}。", "有一位老人告诉它，山的那边有{want}。"},
    {"大家都说：“太远了，你找不到的。”", "邻居们摇摇头，说谁也没有见过。",
     "它有一点害怕，可是它还是想去试试。", "妈妈对它说：“路上要小心。”"},
    {"第二天早上，{name}带上一点面包，离开了家。", "于是它背上小小的书包，向着太阳走去。",
     "天刚亮，{name}就出发了。", "它带着一根绳子和三个苹果上路了。"},
    {"它走过田野，走过小桥，走了整整三天。", "一路上风很大，可是它没有停下来。",
     "白天它走路，晚上就睡在星星下面。", "路很长，世界比它想的大得多。"},
    {"忽然，{obstacle}挡住了它的路。", "到了第四天，它看见前面有{obstacle}。",
     "可是，前面只有{obstacle}，没有别的路。", "走到半路，它遇到了{obstacle}。"},
    {"{name}试了一次又一次，都没有成功。", "它想跳过去，可是不行。",
     "它想了很多办法，一个也没有用。", "它大声喊，可是没有人回答。"},
    {"这时候，一位{helper}走了过来，问道：“你为什么难过？”",
     "就在这时，来了一位{helper}。“需要帮忙吗？”他问。",
     "一位{helper}看见了它，笑着说：“别怕，我来帮你。”", "忽然有人说话了，原来是一位{helper}。"},
    {"{name}把事情从头到尾说了一遍。", "“我想找{want}，可是我过不去。”{name}说。",
     "它们一起吃了一个苹果，慢慢地聊了起来。", "“我走了很远的路。”{name}小声地说。"},
    {"{helper}想了一个好办法，它们一起动手，很快就成功了。",
     "“两个人一起做，就不难了。”{helper}说。", "它们用绳子做了一座小桥，高高兴兴地走了过去。",
     "{helper}告诉它一条没有人知道的小路。"},
    {"在一棵老树下面，{name}终于找到了{want}。", "就在山的那一边，{want}在阳光下闪闪发光。",
     "它睁大眼睛，因为{want}就在眼前。", "走了不久，它们看见了{want}。"},
    {"{name}说：“谢谢你，没有你我做不到。”", "它把一半分给了{helper}。",
     "它们坐在草地上，一起唱歌，一直唱到天黑。", "{helper}笑了笑，说：“我们是朋友。”"},
    {"回到家里，大家都来听它的故事。", "{name}回家的时候，村里的灯都亮了。",
     "回家的路好像短了很多。", "妈妈站在门口，高兴地向它招手。"},
    {"从那以后，{name}和{helper}成了最好的朋友。", "从此，再也没有人说它做不到了。",
     "那天晚上，{name}睡得很香。", "它明白了：有朋友，再远的路也不怕。"},
};
static const char *const zh_heroes[] = {"狐狸", "小猫", "小狗", "兔子", "乌龟",
                                        "小熊", "猴子", "松鼠", "老虎", "小鸟"};
static const char *const zh_names[] = {"小明", "阿福", "乐乐", "豆豆", "花花",
                                       "小雨", "天天", "安安", "多多", "小白"};
static const char *const zh_places[] = {"森林里", "小河边",     "高山上",
                                        "大海边", "老磨坊旁边", "一个小村子里"};
static const char *const zh_wants[] = {"一把金钥匙",   "一颗蓝色的宝石", "一盏不会灭的灯",
                                       "一本最老的书", "一朵会唱歌的花", "一口银色的泉水"};
static const char *const zh_obstacles[] = {"一条没有桥的大河", "一堵高高的墙", "一片浓浓的雾",
                                           "一扇没有把手的门", "一片黑黑的树林"};
static const char *const zh_helpers[] = {"老爷爷", "小姑娘", "邮递员", "渔夫", "旅行者", "老奶奶"};
static const char *const zh_adjectives[] = {"聪明", "勇敢", "害羞", "好奇", "善良", "可爱"};
static const char *const zh_words[] = {
    "讲一个[长的|]故事",
    "[请|]给我讲一个关于{hero}的故事",
    "[请|]写一个关于{hero}的故事",
    "讲个关于{hero}的[长|]故事吧",
    "[请|]用中文讲一个故事",
    "我想听[一个|]{hero}的故事",
    "[Tell me|Write] a [long |]story in Chinese",
    "请讲一个中文故事",
    "给我讲个故事[，要长一点|]",
    "[能不能|可以]讲一个关于{hero}的故事[吗|]",
};

static void make_chinese(struct sample *sample, struct choice *choice, enum split split)
{
    struct slot slots[] = {
        {"hero", slice_str(LIST_PART(choice, zh_heroes, split))},
        {"name", slice_str(CHOICE_OF(choice, zh_names))},
        {"place", slice_str(CHOICE_OF(choice, zh_places))},
        {"want", slice_str(CHOICE_OF(choice, zh_wants))},
        {"obstacle", slice_str(CHOICE_OF(choice, zh_obstacles))},
        {"helper", slice_str(CHOICE_OF(choice, zh_helpers))},
        {"adj", slice_str(CHOICE_OF(choice, zh_adjectives))},
    };
    struct text asked, answer;
    text_init(&asked, 512);
    text_init(&answer, 8192);
    phrase_add(&asked, choice, slice_str(LIST_PART(choice, zh_words, split)), slots,
               ARRAY_COUNT(slots));
    if (choice_percent(choice, 50))
        text_add_str(&asked, "。");
    for (size_t scene = 0; scene < ARRAY_COUNT(zh_scenes); scene++)
        phrase_add(&answer, choice, slice_str(CHOICE_OF(choice, zh_scenes[scene])), slots,
                   ARRAY_COUNT(slots));
    sample_say(sample, SPEAKER_USER, text_slice(&asked));
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&answer));
    text_fini(&answer);
    text_fini(&asked);
}

/* -- counting ---------------------------------------------------------------- */

static void make_counting(struct sample *sample, struct choice *choice, enum split split)
{
    static const char *const words[] = {
        "[Count|count] from {a} to {b}",
        "[Please count|Count] from {a} up to {b}",
        "[List|Write|Give me] the numbers from {a} to {b}",
        "[Say|Print] all numbers from {a} to {b}",
        "[Can|Could] you count from {a} to {b}",
    };
    /* The examination asks for long answers: 60 numbers are 200 tokens and more. */
    int64_t count = split == SPLIT_TEST ? choice_between(choice, 60, 100)
                                        : (int64_t)word_log_uniform(choice, 2, 110);
    int64_t first = choice_percent(choice, 65) ? 1 : choice_between(choice, 2, 120);
    char from[24], to[24];
    snprintf(from, sizeof(from), "%d", (int)first);
    snprintf(to, sizeof(to), "%d", (int)(first + count - 1));
    struct text asked, answer;
    text_init(&asked, 256);
    text_init(&answer, 4096);
    PHRASE(&asked, choice, LIST_PART(choice, words, split), {"a", slice_str(from)},
           {"b", slice_str(to)});
    text_add_str(&asked, choice_percent(choice, 60) ? "." : "");
    for (int64_t i = 0; i < count; i++) {
        text_add_str(&answer, i ? ", " : "");
        text_add_i64(&answer, first + i);
    }
    sample_say(sample, SPEAKER_USER, text_slice(&asked));
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&answer));
    text_fini(&answer);
    text_fini(&asked);
}

static void make(struct sample *sample, struct choice *choice, enum split split)
{
    static const uint8_t shares[] = {[KIND_LONG] = 48,    [KIND_EMOJI] = 10, [KIND_ACCENTS] = 8,
                                     [KIND_CHINESE] = 10, [KIND_SHORT] = 10, [KIND_COUNTING] = 14};
    size_t drawn = choice_below(choice, 100), kind = 0;
    while (drawn >= shares[kind])
        drawn -= shares[kind++];
    sample->kind = (unsigned)kind;
    opening_add(sample, choice, split, 25);
    if (kind == KIND_CHINESE)
        make_chinese(sample, choice, split);
    else if (kind == KIND_COUNTING)
        make_counting(sample, choice, split);
    else
        make_tale(sample, choice, split, (enum kind)kind);
}

/* -- judging ------------------------------------------------------------------- */

/* Up to and with its end mark, or the rest. */
static struct slice next_sentence(struct slice *rest)
{
    size_t len = 0;
    while (len < rest->len && !strchr(".!?\n", rest->data[len]))
        len++;
    len += len < rest->len;
    struct slice sentence = slice_trim(slice_first(*rest, len));
    *rest = slice_after(*rest, len);
    return sentence;
}

static size_t times_said(struct slice text, struct slice sentence)
{
    size_t times = 0;
    while (text.len > 0)
        times += slice_eq(next_sentence(&text), sentence);
    return times;
}

/* A model that has lost its thread says the same again and again. */
static bool goes_round(struct slice answer)
{
    enum { SENTENCE_LEAST = 12 };
    for (struct slice rest = answer; rest.len > 0;) {
        struct slice sentence = next_sentence(&rest);
        if (sentence.len >= SENTENCE_LEAST && times_said(answer, sentence) > REPEATS_MOST)
            return true;
    }
    return false;
}

static bool is_told_well(const struct sample *sample, struct slice answer)
{
    if (!utf8_is_valid(answer))
        return false;
    if (sample->kind == KIND_COUNTING)
        return slice_eq(answer, sample_answer(sample));
    if (sample->kind == KIND_SHORT)
        return answer.len >= SHORT_BYTES_LEAST && answer.len <= SHORT_BYTES_MOST &&
               !goes_round(answer);
    return answer.len >= LONG_BYTES_LEAST && !goes_round(answer);
}

static void judge(const struct sample *sample, struct slice answer, struct score *score)
{
    score_count(score, GATE_STORIES, is_told_well(sample, answer));
}

const struct family family_stories = {"stories", 3, make, judge};
