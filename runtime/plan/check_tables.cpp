#include <cmath>

#include "runtime/plan/check_parts.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/vectors.h"

/// The plan's lists that stand for themselves: key, model, files, weights, states, vocabulary.
namespace heddle::plan {
namespace {

Result<void> check_model(const Plan& plan) {
  const Place place{nullptr, "model"};
  if (plan.model.vocabulary == 0 || plan.model.vocabulary > std::uint32_t(INT32_MAX))
    return fail(place, "vocabulary is {}, wanted 1 to {}", plan.model.vocabulary, INT32_MAX);
  return check_each(plan.files, nullptr, "files", [](const ModelFile& file, const Place& place) -> Result<void> {
    if (file.path.empty()) return fail(place, "path is empty");
    return {};
  });
}

/// Columns are whole rows of the destination, so that the sources' bytes one after the other are its bytes.
Result<std::int64_t> check_source(const WeightSource& source, const Weight& weight, DType dtype, const Plan& plan, const Place& place) {
  const bool vector = weight.shape.size() == 1 && dtype == DType::f32;
  if (!source.values.empty()) {
    if (!vector || !source.tensor.empty() || source.rows != 1 || source.columns != std::int64_t(source.values.size()) || source.bytes != 0)
      return fail(place, "{} values for [{}, {}] of {}, wanted a row of a vector in f32", source.values.size(), source.rows, source.columns,
                  dtype);
    for (const float value : source.values)
      if (!std::isfinite(value)) return fail(place, "value {}, wanted finite numbers", value);
    return source.columns;
  }
  if (!vector && is_made(source))
    return fail(place, "type {} plus {} into {}, only a vector in f32 is made from others", source.dtype.value_or(dtype), source.plus,
                dtype);
  if (!std::isfinite(source.plus)) return fail(place, "plus is {}, wanted a finite number", source.plus);
  if (source.dtype) {
    dtype = *source.dtype;
    if (dtype == DType::i32) return fail(place, "dtype is i32, a weight is float or quantised");
  }
  if (source.file >= plan.files.size()) return fail(place, "file is {}, there are {} files", source.file, plan.files.size());
  if (source.rows <= 0 || source.columns <= 0 || source.columns > max_elements / source.rows)
    return fail(place, "{} rows of {} columns", source.rows, source.columns);
  if (source.row_begin < 0 || source.row_begin > max_elements) return fail(place, "row_begin is {}", source.row_begin);
  if (source.column_begin != 0) return fail(place, "column_begin is {}, only whole rows can be loaded", source.column_begin);
  if (weight.shape.size() > 1 && source.columns != weight.shape.back())
    return fail(place, "{} columns, the shape [{}] has {}", source.columns, fmt::join(weight.shape, ", "), weight.shape.back());
  const std::int64_t elements = source.rows * source.columns;
  if (elements % info(dtype).elements != 0)
    return fail(place, "{} elements are no multiple of {}'s block of {}", elements, dtype, info(dtype).elements);
  const std::uint64_t bytes = std::uint64_t(bytes_of(dtype, elements));
  if (source.bytes != bytes)
    return fail(place, "{} bytes, {} rows of {} columns of {} are {}", source.bytes, source.rows, source.columns, dtype,
                bytes);
  const std::uint64_t file_bytes = plan.files[source.file].bytes;
  if (source.bytes > file_bytes || source.offset > file_bytes - source.bytes)
    return fail(place, "bytes {} to {} + {}, the file has {}", source.offset, source.offset, source.bytes, file_bytes);
  return elements;
}

Result<void> check_layout(const Weight& weight, DType dtype, std::int64_t elements, const Plan& plan, const Place& place) {
  if (weight.layout == Layout::rows) return {};
  const bool panels = weight.layout == Layout::panels;
  if ((plan.backend == BackendKind::cpu) != panels || weight.shape.size() < 2) return fail(place, "layout is '{}', wanted 'rows'", weight.layout);
  const auto bytes = stored_bytes(weight.layout, dtype, elements / weight.shape.back(), weight.shape.back());
  if (!bytes.ok()) return fail(place, "{}", bytes.error().message());
  return {};
}

Result<void> check_weight(const Weight& weight, const Plan& plan, const Place& place) {
  if (weight.name.empty()) return fail(place, "name is empty");
  const DType dtype = weight.dtype;
  if (dtype == DType::i32) return fail(place, "dtype is i32, a weight is float or quantised");
  HEDDLE_ASSIGN(const std::int64_t elements, check_shape(weight.shape, dtype, place));
  HEDDLE_TRY(check_layout(weight, dtype, elements, plan, place));
  if (weight.device != 0) return fail(place, "device is {}, there is one", weight.device);
  std::int64_t found = 0;
  HEDDLE_TRY(check_each(weight.sources, &place, "sources", [&](const WeightSource& source, const Place& at) -> Result<void> {
    HEDDLE_ASSIGN(const std::int64_t more, check_source(source, weight, dtype, plan, at));
    if (more > elements - found)
      return fail(at, "the sources have more than the {} elements of shape [{}]", elements, fmt::join(weight.shape, ", "));
    found += more;
    return {};
  }));
  if (found != elements)
    return fail(place, "the sources have {} elements, the shape [{}] has {}", found, fmt::join(weight.shape, ", "), elements);
  return {};
}

}  // namespace

Result<void> check_key(const Plan& plan) {
  return check_each(plan.key, nullptr, "key", [](const KeyField& field, const Place& place) -> Result<void> {
    if (field.name.empty()) return fail(place, "name is empty");
    return {};
  });
}

Result<void> check_weights(const Plan& plan) {
  return check_each(plan.weights, nullptr, "weights",
                    [&](const Weight& weight, const Place& place) { return check_weight(weight, plan, place); });
}

Result<void> check_states(const Plan& plan) {
  return check_each(plan.states, nullptr, "states", [](const State& state, const Place& place) -> Result<void> {
    if (state.dtype != DType::f32 && state.dtype != DType::f16) return fail(place, "dtype is {}, wanted f32 or f16", state.dtype);
    if (state.shape.size() != 3 || state.shape[0] != 2)
      return fail(place, "shape is [{}], wanted [2, kv_heads, head_dim]", fmt::join(state.shape, ", "));
    HEDDLE_TRY(check_shape(state.shape, state.dtype, place));
    return {};
  });
}

Result<void> check_vocabulary(const Plan& plan) {
  const Place place{nullptr, "vocabulary"};
  const Vocabulary& vocabulary = plan.vocabulary;
  if (vocabulary.kind != "spm" && vocabulary.kind != "bpe" && vocabulary.kind != "none")
    return fail(place, "kind is '{}', wanted spm, bpe or none", vocabulary.kind);
  const std::int64_t size = plan.model.vocabulary, tokens = std::int64_t(vocabulary.tokens.size());
  if (vocabulary.kind == "none" ? tokens != 0 : tokens != size)
    return fail(place, "kind '{}' with {} tokens, the model has {}", vocabulary.kind, tokens, size);
  HEDDLE_TRY(check_each(vocabulary.tokens, &place, "tokens", [](const Token& token, const Place& at) -> Result<void> {
    if (token.type > 6) return fail(at, "type is {}, wanted 0 to 6", token.type);
    if (std::isnan(token.score)) return fail(at, "score is not a number");
    return {};
  }));
  const auto check_id = [&](std::string_view field, std::int64_t id, bool optional) -> Result<void> {
    if ((optional && id == -1) || (id >= 0 && id < size)) return {};
    return fail(place, "{} is {}, the vocabulary has {} tokens", field, id, size);
  };
  HEDDLE_TRY(check_id("bos", vocabulary.bos, true));
  HEDDLE_TRY(check_id("eos", vocabulary.eos, true));
  HEDDLE_TRY(check_id("unknown", vocabulary.unknown, true));
  for (std::size_t i = 0; i < vocabulary.end_tokens.size(); ++i)
    HEDDLE_TRY(check_id(fmt::format("end_tokens[{}]", i), vocabulary.end_tokens[i], false));
  return {};
}

Result<void> check_tables(const Plan& plan) {
  HEDDLE_TRY(check_key(plan));
  HEDDLE_TRY(check_model(plan));
  HEDDLE_TRY(check_weights(plan));
  HEDDLE_TRY(check_states(plan));
  return check_vocabulary(plan);
}

}  // namespace heddle::plan
