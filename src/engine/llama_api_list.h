/* llama_api_list - the functions of libllama and libggml that we call, one X each. Apart from
 * llama_api.h, because a test makes a library that lacks some, and must not see llama.h. */
#pragma once

#define LLAMA_API_FUNCTIONS(X)                                                                     \
    X(ggml_backend_dev_backend_reg)                                                                \
    X(ggml_backend_dev_by_type)                                                                    \
    X(ggml_backend_dev_count)                                                                      \
    X(ggml_backend_load_all_from_path)                                                             \
    X(ggml_backend_reg_get_proc_address)                                                           \
    X(ggml_set_abort_callback)                                                                     \
    X(ggml_threadpool_params_default)                                                              \
    X(llama_attach_threadpool)                                                                     \
    X(llama_backend_init)                                                                          \
    X(llama_chat_apply_template)                                                                   \
    X(llama_context_default_params)                                                                \
    X(llama_decode)                                                                                \
    X(llama_free)                                                                                  \
    X(llama_ftype_name)                                                                            \
    X(llama_get_logits_ith)                                                                        \
    X(llama_get_memory)                                                                            \
    X(llama_init_from_model)                                                                       \
    X(llama_log_set)                                                                               \
    X(llama_memory_seq_cp)                                                                         \
    X(llama_memory_seq_pos_max)                                                                    \
    X(llama_memory_seq_rm)                                                                         \
    X(llama_model_chat_template)                                                                   \
    X(llama_model_default_params)                                                                  \
    X(llama_model_free)                                                                            \
    X(llama_model_ftype)                                                                           \
    X(llama_model_get_vocab)                                                                       \
    X(llama_model_has_decoder)                                                                     \
    X(llama_model_has_encoder)                                                                     \
    X(llama_model_is_diffusion)                                                                    \
    X(llama_model_is_hybrid)                                                                       \
    X(llama_model_is_recurrent)                                                                    \
    X(llama_model_load_from_file)                                                                  \
    X(llama_model_n_params)                                                                        \
    X(llama_model_n_swa)                                                                           \
    X(llama_model_size)                                                                            \
    X(llama_n_batch)                                                                               \
    X(llama_n_ctx_seq)                                                                             \
    X(llama_state_seq_get_data)                                                                    \
    X(llama_state_seq_get_size)                                                                    \
    X(llama_state_seq_set_data)                                                                    \
    X(llama_token_to_piece)                                                                        \
    X(llama_tokenize)                                                                              \
    X(llama_version)                                                                               \
    X(llama_vocab_get_add_bos)                                                                     \
    X(llama_vocab_is_eog)                                                                          \
    X(llama_vocab_n_tokens)                                                                        \
    X(llama_vocab_type)
