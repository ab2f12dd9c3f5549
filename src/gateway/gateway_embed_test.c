/* gateway_embed_test - /v1/embeddings and /v1/rerank: what becomes of the body, and of the numbers.
 */
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#include <stdio.h>

static struct gateway_rig *rig;

static void say_numbers(struct job *job, uint32_t input, const float *numbers, size_t count)
{
    struct text data;
    text_init(&data, 1 << 16);
    for (size_t i = 0; i < count; i++)
        result_add_number(&data, numbers[i]);
    struct event event = {.type = EVENT_RESULT};
    event.result = (struct result){input, RESULT_NUMBERS, text_slice(&data)};
    job_say(job, &event);
    text_fini(&data);
}

static void end(struct job *job, uint32_t prompt_tokens)
{
    job_say(job, &(struct event){.type = EVENT_USAGE, .usage.prompt_tokens = prompt_tokens});
    job_done(job, DONE_STOP);
}

static void check_body(const char *body)
{
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK_SLICES(text_slice(&answer.body), slice_str(body));
    client_forget(&rig->client, &answer);
    answer_fini(&answer);
}

static struct job *ask(const char *path, const char *body)
{
    struct job *job = client_ask(&rig->client, path, body);
    job_start(job);
    return job;
}

/* --- embeddings --- */

TEST(a_text_becomes_a_vector)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask("/v1/embeddings", "{\"model\":\"m\",\"input\":\"h\\u00e9\"}");
    CHECK_EQ(job->request.task.kind, TASK_EMBED);
    CHECK_EQ(job->request.task.pooling, TASK_POOLING_DEFAULT);
    CHECK_SLICE(job->request.task.inputs[0].text, "h\xc3\xa9");
    say_numbers(job, 0, (const float[]){0.5f, -0.25f}, 2);
    say_numbers(job, 0, (const float[]){0, 1, -1}, 3); /* its second part */
    end(job, 2);
    check_body(
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":["
        "0.500000000,-0.250000000,0.000000000,1.000000000,-1.000000000]}],\"model\":\"m\","
        "\"usage\":{\"prompt_tokens\":2,\"total_tokens\":2}}");
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

TEST(several_inputs_become_as_many)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask("/v1/embeddings", "{\"input\":[\"a\",\"b\"],\"pooling\":\"last\"}");
    CHECK_EQ(job->request.task.input_count, 2);
    CHECK_EQ(job->request.task.pooling, TASK_LAST);
    say_numbers(job, 0, (const float[]){0.1f}, 1);
    say_numbers(job, 1, (const float[]){3e-9f}, 1);
    end(job, 4);
    check_body(
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":["
        "0.100000001]},{\"object\":\"embedding\",\"index\":1,\"embedding\":[0.000000003]}],"
        "\"model\":\"m\",\"usage\":{\"prompt_tokens\":4,\"total_tokens\":4}}");
    gateway_rig_close(rig);
}

TEST(base64_is_of_little_endian_floats)
{
    rig = gateway_rig_open(NULL);
    struct job *job =
        ask("/v1/embeddings", "{\"input\":[[1,2],[3]],\"encoding_format\":\"base64\"}");
    CHECK(job->request.task.inputs[0].is_tokens);
    CHECK_EQ(job->request.task.inputs[0].token_count, 2);
    CHECK_EQ(job->request.task.inputs[1].tokens[0], 3);
    say_numbers(job, 0, (const float[]){1, 0.5f}, 2);
    say_numbers(job, 1, (const float[]){-2}, 1);
    end(job, 3);
    check_body(
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"
        "\"AACAPwAAAD8=\"},{\"object\":\"embedding\",\"index\":1,\"embedding\":\"AAAAwA==\"}],"
        "\"model\":\"m\",\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}");
    gateway_rig_close(rig);
}

TEST(a_list_of_ids_is_one_input)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask("/v1/embeddings", "{\"input\":[7,8,9]}");
    CHECK_EQ(job->request.task.input_count, 1);
    CHECK_EQ(job->request.task.inputs[0].token_count, 3);
    say_numbers(job, 0, (const float[]){1}, 1);
    end(job, 3);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

static void check_refused(const char *path, const char *body, const char *code)
{
    client_post_str(&rig->client, path, body);
    if (!client_was_refused(&rig->client, 400, code))
        printf("%s %s\n", path, body);
    CHECK_EQ(rig->job_count, 0);
}

TEST(what_is_wrong_with_an_embedding_is_refused_by_name)
{
    static const char path[] = "/v1/embeddings";
    rig = gateway_rig_open(NULL);
    check_refused(path, "{}", "missing_parameter");
    check_refused(path, "{\"input\":[]}", "invalid_value");
    check_refused(path, "{\"input\":7}", "invalid_type");
    check_refused(path, "{\"input\":{}}", "invalid_type");
    check_refused(path, "{\"input\":[\"a\",7]}", "invalid_type");
    check_refused(path, "{\"input\":[\"a\",[7]]}", "invalid_type");
    check_refused(path, "{\"input\":[[7],\"a\"]}", "invalid_type");
    check_refused(path, "{\"input\":[7,\"a\"]}", "invalid_type");
    check_refused(path, "{\"input\":[[7],[-1]]}", "invalid_type");
    check_refused(path, "{\"input\":[null]}", "invalid_type");
    check_refused(path, "{\"input\":\"a\",\"dimensions\":256}", "unsupported_parameter");
    check_refused(path, "{\"input\":\"a\",\"encoding_format\":\"int8\"}", "invalid_value");
    check_refused(path, "{\"input\":\"a\",\"encoding_format\":1}", "invalid_type");
    check_refused(path, "{\"input\":\"a\",\"pooling\":\"rank\"}", "invalid_value");
    gateway_rig_close(rig);
}

TEST(inputs_have_a_bound)
{
    struct text body;
    rig = gateway_rig_open(NULL);
    text_init(&body, 1 << 20);
    text_add_str(&body, "{\"input\":[\"a\"");
    for (int i = 0; i < TASK_INPUTS_MAX; i++)
        text_add_str(&body, ",\"a\"");
    text_add_str(&body, "]}");
    client_post(&rig->client, "/v1/embeddings", "", text_slice(&body));
    text_fini(&body);
    CHECK(client_was_refused(&rig->client, 400, "invalid_value"));
    gateway_rig_close(rig);
}

/* --- rerank --- */

TEST(documents_come_back_best_first)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask("/v1/rerank", "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\","
                                        "{\"text\":\"b\\n\"},\"c\",\"d\"],\"top_n\":3,"
                                        "\"return_documents\":true}");
    CHECK_EQ(job->request.task.kind, TASK_RERANK);
    CHECK_SLICE(job->request.task.query, "q");
    CHECK_SLICE(job->request.task.inputs[1].text, "b\n");
    static const float scores[] = {-1, 2.5f, -1, -7};
    for (uint32_t i = 0; i < 4; i++)
        say_numbers(job, i, &scores[i], 1);
    end(job, 9);
    check_body("{\"object\":\"list\",\"model\":\"m\",\"usage\":{\"prompt_tokens\":9,"
               "\"total_tokens\":9},\"results\":[{\"index\":1,\"relevance_score\":2.5,"
               "\"document\":{\"text\":\"b\\n\"}},{\"index\":0,\"relevance_score\":-1,"
               "\"document\":{\"text\":\"a\"}},{\"index\":2,\"relevance_score\":-1,"
               "\"document\":{\"text\":\"c\"}}]}");
    gateway_rig_close(rig);
}

TEST(documents_are_told_only_where_that_is_asked_for)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask("/v1/rerank", "{\"query\":\"q\",\"documents\":[\"a\"],\"top_n\":9}");
    say_numbers(job, 0, (const float[]){0.1f}, 1);
    say_numbers(job, 77, (const float[]){9}, 1); /* of a document that is not there */
    end(job, 1);
    check_body("{\"object\":\"list\",\"model\":\"m\",\"usage\":{\"prompt_tokens\":1,"
               "\"total_tokens\":1},\"results\":[{\"index\":0,\"relevance_score\":0.100000001}]}");
    gateway_rig_close(rig);
}

TEST(what_is_wrong_with_a_rerank_is_refused_by_name)
{
    static const char path[] = "/v1/rerank";
    rig = gateway_rig_open(NULL);
    check_refused(path, "{\"documents\":[\"a\"]}", "missing_parameter");
    check_refused(path, "{\"query\":\"q\"}", "missing_parameter");
    check_refused(path, "{\"query\":1,\"documents\":[\"a\"]}", "invalid_type");
    check_refused(path, "{\"query\":\"q\",\"documents\":\"a\"}", "invalid_type");
    check_refused(path, "{\"query\":\"q\",\"documents\":[]}", "invalid_value");
    check_refused(path, "{\"query\":\"q\",\"documents\":[{\"body\":\"a\"}]}", "invalid_type");
    check_refused(path, "{\"query\":\"q\",\"documents\":[\"a\"],\"top_n\":0}", "invalid_value");
    check_refused(path, "{\"query\":\"q\",\"documents\":[\"a\"],\"return_documents\":1}",
                  "invalid_type");
    gateway_rig_close(rig);
}

TEST(a_model_that_cannot_rank_says_what_is_missing)
{
    rig = gateway_rig_open(NULL);
    struct job *job =
        client_ask(&rig->client, "/v1/rerank", "{\"query\":\"q\",\"documents\":[\"a\"]}");
    job_accept(job);
    job_fail(job, FAULT_UNSUPPORTED_PARAMETER, "this model cannot rank: it has no head");
    CHECK(client_was_refused(&rig->client, 400, "unsupported_parameter"));
    gateway_rig_close(rig);
}
