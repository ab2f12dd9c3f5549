/* stress_options - the command line of stress_sse, checked. */
#pragma once

#include "net/listener.h"

struct stress_options {
    struct net_address address; /* loopback */
    const char *model;
    uint32_t concurrency; /* streams at once */
    uint32_t rounds;      /* streams in all */
    double abort_ratio;   /* 0..1: the share that leaves */
    double abort_min_s, abort_max_s;
    double timeout_s; /* of one stream */
    uint32_t max_tokens;
    uint64_t seed;
    int pid;         /* of the server; 0: unknown */
    const char *key; /* API key; NULL: none is sent */
};

/* Ends the process with a usage message when something is wrong. */
void stress_options_read(int argc, char **argv, struct stress_options *out_options);
