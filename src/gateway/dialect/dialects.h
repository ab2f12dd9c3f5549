/* dialects - every surface, one line each; one file each beside this one. */
#pragma once

#include "gateway/dialect.h"

extern const struct dialect dialect_completions;     /* OpenAI /v1/completions, and "Serving v2" */
extern const struct dialect dialect_chat;            /* OpenAI /v1/chat/completions */
extern const struct dialect dialect_infer;           /* rbee component: /v1/infer, POST and GET */
extern const struct dialect dialect_inference;       /* rbee worker: /v1/inference */
extern const struct dialect dialect_generate;        /* WorkflowAI: /generate */
extern const struct dialect dialect_generate_stream; /* WorkflowAI: /generate/stream */
extern const struct dialect dialect_tokenize;        /* llama-server: /tokenize */
extern const struct dialect dialect_detokenize;      /* llama-server: /detokenize */
extern const struct dialect dialect_embeddings;      /* OpenAI /v1/embeddings */
extern const struct dialect dialect_rerank;          /* Jina: /v1/rerank */
extern const struct dialect dialect_raw; /* "Serving v2" raw: formats only, for any route */
