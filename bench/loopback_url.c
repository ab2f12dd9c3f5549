/* loopback_url - see loopback_url.h. */
#include "loopback_url.h"

enum err loopback_url_parse(const char *url, struct net_address *out_address,
                            struct err_note *out_note)
{
    struct slice rest = slice_str(url);
    struct net_address address;
    struct err_note why;
    uint64_t port = 0;
    if (!slice_starts_with(rest, SLICE("http://")))
        return err_note_fail(out_note, ERR_PROTOCOL, "url %s: it must begin with http://", url);
    rest = slice_after(rest, sizeof "http://" - 1);
    if (slice_ends_with(rest, SLICE("/")))
        rest.len--;
    size_t colon = rest.len;
    while (colon > 0 && rest.data[colon - 1] != ':')
        colon--;
    if (colon == 0 || slice_parse_u64(slice_after(rest, colon), UINT16_MAX, &port) != ERR_OK ||
        port == 0)
        return err_note_fail(out_note, ERR_PROTOCOL, "url %s: it must end in :PORT", url);
    if (net_address_parse(slice_first(rest, colon - 1), (uint16_t)port, &address, &why) != ERR_OK)
        return err_note_fail(out_note, ERR_PROTOCOL, "url %s: %s", url, why.text);
    if (!net_address_is_loopback(&address))
        return err_note_fail(out_note, ERR_REFUSED, "url %s: only loopback is loaded", url);
    *out_address = address;
    return ERR_OK;
}
