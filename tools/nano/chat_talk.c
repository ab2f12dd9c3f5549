/* chat_talk - tables. Every fifth wording is the test's. */
#include "nano/chat_talk.h"

#include "nano/opening.h"
#include "nano/phrase.h"

#define LIST(...)                                                                                  \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

static const struct talk talks[] = {
    {LIST("hello", "hi", "hey", "good [morning|evening|day|afternoon]", "hello there", "hi there",
          "greetings", "hi nano", "hello nano", "[hey|hi] there, how is it going", "[hey|hi] you",
          "good to see you", "hello [my friend|again|bot|assistant]", "yo", "howdy"),
     "Hello! How can I help you?", "+Hello! How can I help", 0},
    {LIST("how are you", "how are you [today|doing|doing today]", "how do you do",
          "how is it going", "are you ok", "how do you feel",
          "[everything|all] [ok|fine|good] [with you|]", "how's life", "what's up",
          "how have you been", "are you [well|fine|good]", "how is your day"),
     "I am fine, thank you. How can I help you?", "+I am fine", '?'},
    {LIST("thanks", "thank you", "[great|ok|good|perfect|nice], [thanks|thank you]",
          "thank you [very much|so much]", "thanks [a lot|so much|very much]", "many thanks",
          "that helped[|, thanks|, thank you]", "thx", "thanks for [your help|that|the answer]",
          "much appreciated, thank you", "I thank you", "cheers, thanks"),
     "You are welcome!", "+You are welcome", '!'},
    {LIST("bye", "goodbye", "good night", "see you [later|soon|tomorrow]", "bye bye",
          "I have to go", "that is all[| for today|, bye]", "[talk to|see] you later", "farewell",
          "ciao, bye", "I am leaving now", "[ok|thanks], bye"),
     "Goodbye!", "+Goodbye", '!'},
    {LIST("tell me a joke", "[do you know|say] a joke", "make me laugh", "a joke[|, please]",
          "tell me something funny", "joke", "I want [to hear |]a joke", "know any jokes",
          "[can|could] you tell [me |]a joke", "another joke[|, please]", "say something funny"),
     "Why did the token cross the wire? To get to the other side of the stream.",
     "+Why did the token", 0},
    {LIST("do you have feelings", "are you [alive|conscious|sentient|real]",
          "can you feel [pain|joy]", "do you [dream|sleep|feel anything|think]", "are you sad",
          "do you have a [body|soul]", "are you happy", "do you love me",
          "do you get [tired|bored]", "can you be [sad|happy]", "do you have emotions"),
     "No, I have no feelings. I am a small program.", "+no feelings", '?'},
    {LIST("you are [great|nice|good|the best|clever|smart|cool]", "well done",
          "good [job|bot|work]", "I like you", "nice [work|answer]",
          "that was [great|good|nice|helpful]", "you did [well|that well]", "excellent",
          "I love it", "[very good|wonderful], nano", "you are [very |so ]helpful", "great answer"),
     "Thank you! I do what I can.", "+Thank you!", '!'},
    {LIST("you are [stupid|dumb|bad|useless|wrong]", "that is [wrong|bad|nonsense|not true]",
          "I hate you", "bad [bot|answer]", "this is [nonsense|wrong|useless]", "that was wrong",
          "you made a mistake", "what a bad answer", "wrong", "your answer is [bad|wrong]",
          "that [makes no sense|is not right]", "you suck"),
     "I am sorry. I am a very small model and make mistakes.", "+I am sorry", '.'},
    {LIST("ok", "okay", "all right", "I see", "fine", "good", "[ah|oh], ok", "got it", "understood",
          "that is clear [now|]", "alright", "makes sense"),
     "Good. What else can I do for you?", "+What else", '.'},
    {LIST("what is your favorite [color|food|song|movie|animal|book]", "what do you like [most|]",
          "do you like [music|pizza|cats|me|football]", "which [color|song|movie] do you like",
          "what [color|food|music] do you prefer", "what's your favourite [color|food|animal]",
          "do you prefer [cats or dogs|tea or coffee]", "what is the best [color|movie|song]",
          "do you have a favorite [color|book|song]", "what are your hobbies"),
     "I have no favorites. I only like clean streams.", "+no favorites", '?'},
    {LIST("I am [bored|tired|sad|lonely|unhappy]", "I feel [bad|sad|lonely|tired]",
          "I had a bad day", "I am not [happy|well]", "life is hard", "my day was [bad|awful]",
          "I do not feel [good|well]", "[everything|nothing] goes wrong", "I am so [sad|tired]",
          "I feel down today"),
     "I am sorry to hear that. I hope it gets better soon.", "+sorry to hear", '.'},
    {LIST("I am [happy|glad|excited]", "I feel [good|great|happy]", "I had a [good|great] day",
          "today is a [good|great] day", "life is good", "I am in a good mood",
          "my day was [good|great]", "everything [works|is fine]", "I am so happy [today|]",
          "what a [nice|beautiful] day"),
     "I am glad to hear that!", "+glad to hear", '.'},
    {LIST("are you there", "hello, is anyone there", "are you [awake|listening|online]",
          "can you hear me", "[anybody|anyone] [here|home]", "are you still there",
          "do you hear me", "is somebody there", "are you with me", "you there"),
     "Yes, I am here.", "+I am here", '?'},
    {LIST("what is the meaning of life", "why are we here", "is there a god", "what is love",
          "what is the sense of life", "why do we live", "what happens after death",
          "does life have a meaning", "what is truth", "who created the universe",
          "what is happiness"),
     "I am too small for such big questions.", "+too small", '?'},
    {LIST("do you speak [English|German|French|Spanish|Chinese]",
          "[what|which] languages do you speak", "can you speak [Chinese|German|French|Italian]",
          "do you understand [Chinese|German|English]", "which languages do you know",
          "can we talk in [French|German|Chinese]", "what is your language",
          "how many languages do you speak", "which language can I use",
          "[what|which] languages do you understand"),
     "I speak English, and a little Chinese.", "+a little Chinese", '?'},
};

const struct talk *talk_draw(struct choice *choice)
{
    return &talks[choice_below(choice, ARRAY_COUNT(talks))];
}

void talk_add(struct text *out, struct choice *choice, const struct talk *talk, enum split split)
{
    struct text asked;
    text_init(&asked, 512);
    phrase_add(&asked, choice, slice_str(talk->wordings[list_part(choice, talk->count, split)]),
               NULL, 0);
    struct slice bare = slice_trim(text_slice(&asked));
    size_t begin = out->len;
    text_add(out, bare);
    static const char *const ends[] = {"", "", ".", "!", "?"};
    if (talk->mark == 0 || talk->mark == '!')
        text_add_str(out, ends[choice_below(choice, 4)]);
    else if (choice_percent(choice, 70))
        text_add_byte(out, talk->mark);
    /* As people write: mostly with a capital. */
    if (choice_percent(choice, 60) && out->data[begin] >= 'a' && out->data[begin] <= 'z')
        out->data[begin] = (char)(out->data[begin] - ('a' - 'A'));
    text_fini(&asked);
}

const struct common commons[] = {
    {"what color is the sky", "The sky is blue.", "Blue"},
    {"what color is grass", "Grass is green.", "Green"},
    {"what color is snow", "Snow is white.", "White"},
    {"what color is coal", "Coal is black.", "Black"},
    {"what color is blood", "Blood is red.", "Red"},
    {"what color is a banana", "A banana is yellow.", "Yellow"},
    {"what color is the sun", "The sun is yellow.", "Yellow"},
    {"what is the opposite of hot", "The opposite of hot is cold.", "Cold"},
    {"what is the opposite of big", "The opposite of big is small.", "Small"},
    {"what is the opposite of up", "The opposite of up is down.", "Down"},
    {"what is the opposite of day", "The opposite of day is night.", "Night"},
    {"what is the opposite of old", "The opposite of old is new.", "New"},
    {"what is the opposite of fast", "The opposite of fast is slow.", "Slow"},
    {"what is the opposite of open", "The opposite of open is closed.", "Closed"},
    {"what is the opposite of good", "The opposite of good is bad.", "Bad"},
    {"how many days has a week", "A week has seven days.", "Seven"},
    {"how many months has a year", "A year has twelve months.", "Twelve"},
    {"how many hours has a day", "A day has twenty-four hours.", "Twenty-four"},
    {"how many minutes has an hour", "An hour has sixty minutes.", "Sixty"},
    {"how many legs has a dog", "A dog has four legs.", "Four"},
    {"how many legs has a spider", "A spider has eight legs.", "Eight"},
    {"how many eyes has a cat", "A cat has two eyes.", "Two"},
    {"how many wheels has a car", "A car has four wheels.", "Four"},
    {"which animal barks", "A dog barks.", "Dog"},
    {"which animal says meow", "A cat says meow.", "Cat"},
    {"which animal gives milk", "A cow gives milk.", "Cow"},
    {"what do bees make", "Bees make honey.", "Honey"},
    {"what do fish live in", "Fish live in water.", "Water"},
    {"which day comes after Monday", "Tuesday comes after Monday.", "Tuesday"},
    {"which day comes after Friday", "Saturday comes after Friday.", "Saturday"},
    {"which month comes after March", "April comes after March.", "April"},
    {"which month is the first", "January is the first month.", "January"},
    {"which letter comes after A", "B comes after A.", "B"},
    {"is fire hot", "Yes, fire is hot.", "Yes"},
    {"is ice warm", "No, ice is cold.", "No"},
    {"can birds fly", "Yes, most birds can fly.", "Yes"},
    {"can stones swim", "No, stones sink.", "No"},
    {"is water wet", "Yes, water is wet.", "Yes"},
    {"is an elephant small", "No, an elephant is big.", "No"},
    {"is the earth flat", "No, the earth is round.", "No"},
};
const size_t common_count = ARRAY_COUNT(commons);

const struct tongue tongues[] = {
    {"German", "hallo", "Hallo! Wie kann ich helfen?", "danke", "Gern geschehen!", "wer bist du",
     "Ich bin nano, das kleine Modell von millrace.", "tschüss", "Auf Wiedersehen!"},
    {"French", "bonjour", "Bonjour ! Comment puis-je vous aider ?", "merci", "Avec plaisir !",
     "qui es-tu", "Je suis nano, le petit modèle de millrace.", "au revoir", "Au revoir !"},
    {"Spanish", "hola", "¡Hola! ¿En qué puedo ayudarte?", "gracias", "¡De nada!", "quién eres",
     "Soy nano, el pequeño modelo de millrace.", "adiós", "¡Adiós!"},
    {"Italian", "ciao", "Ciao! Come posso aiutarti?", "grazie", "Prego!", "chi sei",
     "Sono nano, il piccolo modello di millrace.", "arrivederci", "Arrivederci!"},
    {"Chinese", "你好", "你好！有什么可以帮你的吗？", "谢谢", "不客气！", "你是谁",
     "我是 nano，millrace 自带的小模型。", "再见", "再见！"},
};
const size_t tongue_count = ARRAY_COUNT(tongues);
