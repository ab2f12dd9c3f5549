/* listen_address - the address of a configuration. */
#include "role/listen_address.h"

#include <stdio.h>

enum err listen_address(const struct config *config, struct net_address *out_address,
                        struct err_note *out_note)
{
    struct net_address address;
    TRY(net_address_parse(slice_str(config->http_host), (uint16_t)config->http_port, &address,
                          out_note));
    if (!net_address_is_loopback(&address) && !config->allow_no_keys && config->key_count == 0)
        return err_note_fail(out_note, ERR_REFUSED,
                             "http_host %s can be reached from other machines and no API keys are "
                             "set: make one with 'millrace key new', or use 127.0.0.1, or "
                             "--allow-no-keys if that is what you want",
                             config->http_host);
    *out_address = address;
    return ERR_OK;
}

void listen_address_print(const struct net_address *address, const struct config *config)
{
    char text[64];
    const char *key = config->key_count ? " -H 'Authorization: Bearer YOUR_KEY'" : "";
    net_address_format(address, text);
    printf("millrace %s is listening on http://%s\n\n"
           "Try it (the answer arrives token by token; Ctrl-C stops the generation too):\n\n"
           "  curl -N%s http://%s/v1/chat/completions \\\n"
           "    -d '{\"model\":\"%s\",\"stream\":true,\"messages\":[{\"role\":\"user\","
           "\"content\":\"Tell me a story about a fox.\"}]}'\n\n"
           "or, without any model:\n\n"
           "  curl -N%s 'http://%s/v1/completions?stream=true' \\\n"
           "    -d '{\"model\":\"dummy\",\"prompt\":\"Tell me a joke\"}'\n\n",
           MILLRACE_VERSION, text, key, text, config->default_model, key, text);
    fflush(stdout);
}
