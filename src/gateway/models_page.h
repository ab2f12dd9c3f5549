/* models_page - GET /v1/models and /v1/models/{id}: every model known, with its state, in OpenAI's
 * form. */
#pragma once

#include "gateway/routes.h"

void models_page_list(struct gateway *gateway, struct http_conn *conn,
                      const struct http_request *request, const struct route_match *match);
void models_page_one(struct gateway *gateway, struct http_conn *conn,
                     const struct http_request *request, const struct route_match *match);
