/* exposition - a registry in the Prometheus text format 0.0.4: families by name, series by labels,
 * bytewise, so that the same state always gives the same page. Pure. */
#pragma once

#include "metrics/metrics_impl.h"

void exposition_write(const struct metrics *metrics, struct text *out);
