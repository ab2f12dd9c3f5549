/* key_new - 256 random bits as text, and their digest. */
#include "millrace/key_new.h"

#include "base/json.h"
#include "base/sha256.h"
#include "config/api_keys.h"
#include "config/keys.h"
#include "millrace/commands.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/random.h>

enum { RANDOM_BYTES = 32, SECRET_CHARS = 43 /* of base64url, without padding */ };

struct key_options {
    const char *name, *tenant, *weight;
};

MUST_USE static enum err read_options(int argc, char **argv, struct key_options *out_options,
                                      struct err_note *out_note)
{
    static const struct option known[] = {{"name", required_argument, NULL, 'n'},
                                          {"tenant", required_argument, NULL, 't'},
                                          {"weight", required_argument, NULL, 'w'},
                                          {NULL, 0, NULL, 0}};
    struct key_options options = {0};
    opterr = 0;
    for (int found; (found = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (found == '?')
            return err_note_fail(out_note, ERR_REFUSED,
                                 "key new: unknown option, or one without its value: '%.64s'",
                                 argv[optind - 1]);
        *(found == 'n' ? &options.name : found == 't' ? &options.tenant : &options.weight) = optarg;
    }
    if (optind < argc)
        return err_note_fail(out_note, ERR_REFUSED, "key new: unexpected argument '%.64s'",
                             argv[optind]);
    if (!options.name)
        return err_note_fail(out_note, ERR_REFUSED, "key new: --name NAME is missing");
    *out_options = options;
    return ERR_OK;
}

/* "mr-" and RFC 4648's URL alphabet: it survives shells, headers and JSON unquoted. */
MUST_USE static enum err make_secret(struct text *out, struct err_note *out_note)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[RANDOM_BYTES + 1] = {0}; /* the last character has two bits of the zero */
    if (getrandom(random, RANDOM_BYTES, 0) != RANDOM_BYTES)
        return err_note_fail(out_note, ERR_SYSTEM, "key new: no random numbers");
    text_add_str(out, "mr-");
    for (unsigned bit = 0; bit < SECRET_CHARS * 6; bit += 6) {
        unsigned pair = (unsigned)random[bit / 8] << 8 | random[bit / 8 + 1];
        text_add_byte(out, alphabet[pair >> (10 - bit % 8) & 63]);
    }
    return text_status(out);
}

static void write_entry(const struct key_options *options, struct slice secret, struct text *out)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_BYTES + 1];
    uint64_t weight;
    struct json_out json = json_out_to(out);
    sha256_of(secret, digest);
    json_out_begin_object(&json);
    json_out_add_string(&json, "name", slice_str(options->name));
    json_out_add_string(&json, "sha256", sha256_format(digest, hex));
    if (options->tenant)
        json_out_add_string(&json, "tenant", slice_str(options->tenant));
    if (options->weight &&
        slice_parse_u64(slice_str(options->weight), UINT32_MAX, &weight) == ERR_OK)
        json_out_add_u64(&json, "weight", weight);
    else if (options->weight) /* not a number: refused by who knows what is allowed */
        json_out_add_string(&json, "weight", slice_str(options->weight));
    json_out_end_object(&json);
}

/* By the reader of the configuration, so that what is printed here is taken there. */
MUST_USE static enum err check_entry(struct slice entry, struct err_note *out_note)
{
    struct config *config = config_new();
    struct text list;
    struct err_note why;
    text_init(&list, 65536);
    text_add_byte(&list, '[');
    text_add(&list, entry);
    text_add_byte(&list, ']');
    enum err err = text_status(&list);
    if (err == ERR_OK)
        err = api_keys_read(text_slice(&list), config, &why);
    if (err != ERR_OK) /* "keys[0].name must be ..." */
        err = err_note_fail(out_note, ERR_REFUSED, "key new: --%.400s",
                            why.text + strlen("keys[0]."));
    text_fini(&list);
    config_free(config);
    return err;
}

static int print(struct slice secret, struct slice entry)
{
    printf(SLICE_FMT "\n" SLICE_FMT "\n", SLICE_ARG(secret), SLICE_ARG(entry));
    int status = finish_output();
    if (status != 0)
        return status;
    fputs("The first line is the key: it is shown this once and kept nowhere. The second goes into "
          "the list\n\"keys\" of config.json; SIGHUP makes a running service read it.\n",
          stderr);
    return 0;
}

static int help(void)
{
    puts("Usage: millrace key new --name NAME [--tenant NAME] [--weight N]\n"
         "Makes an API key: prints the key, and its entry for \"keys\" in config.json.\n\n"
         "  --name NAME    whose it is, in logs (1..64 bytes)\n"
         "  --tenant NAME  whose requests they are (1..128 bytes; else the name): keys of one "
         "tenant\n"
         "                 see and cancel each other's\n"
         "  --weight N     the tenant's share when there is more work than room (1..1000; else 1)");
    return finish_output();
}

int key_new(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return help();
    struct key_options options = {0};
    struct err_note note;
    struct text secret, entry;
    text_init(&secret, 64);
    text_init(&entry, 32768);
    enum err err = read_options(argc, argv, &options, &note);
    if (err == ERR_OK)
        err = make_secret(&secret, &note);
    if (err == ERR_OK) {
        write_entry(&options, text_slice(&secret), &entry);
        err = text_status(&entry) == ERR_OK
                  ? check_entry(text_slice(&entry), &note)
                  : err_note_fail(&note, ERR_REFUSED, "key new: the name is too long");
    }
    int status = err == ERR_SYSTEM ? 1 : 2;
    if (err == ERR_OK)
        status = print(text_slice(&secret), text_slice(&entry));
    else
        fprintf(stderr, "millrace: %s\n", note.text);
    text_fini(&secret);
    text_fini(&entry);
    return status;
}
