#include "runtime/text/text_steps.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "runtime/text/expression.h"

namespace heddle::text {
namespace {

using Matches = std::vector<std::pair<std::size_t, std::size_t>>;

/// `matches` and what lies between them, in order, all of the text: true where it is a match (false with `invert`).
struct Stretch {
  std::size_t begin, end;
  bool is_match;
};
std::vector<Stretch> stretches_of(std::string_view text, const Matches& matches, bool invert) {
  std::vector<Stretch> out;
  std::size_t done = 0;
  for (const auto& [begin, end] : matches) {
    if (begin > done) out.push_back({done, begin, invert});
    out.push_back({begin, end, !invert});
    done = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), invert});
  return out;
}

// What becomes of a match when a text is cut there. As in the `tokenizers` library, of several matches side by side only the first is
// merged with its neighbour.
std::vector<Stretch> isolated(std::vector<Stretch> in) { return in; }

std::vector<Stretch> removed(std::vector<Stretch> in) {
  std::erase_if(in, [](const Stretch& stretch) { return stretch.is_match; });
  return in;
}

std::vector<Stretch> merged_with_previous(std::vector<Stretch> in) {
  std::vector<Stretch> out;
  bool after_match = false;
  for (const Stretch& stretch : in) {
    if (stretch.is_match && !after_match && !out.empty()) out.back().end = stretch.end;
    else out.push_back(stretch);
    after_match = stretch.is_match;
  }
  return out;
}

std::vector<Stretch> merged_with_next(std::vector<Stretch> in) {
  std::vector<Stretch> out;
  bool after_match = false;  // from right to left
  for (auto stretch = in.rbegin(); stretch != in.rend(); ++stretch) {
    if (stretch->is_match && !after_match && !out.empty()) out.back().begin = stretch->begin;
    else out.push_back(*stretch);
    after_match = stretch->is_match;
  }
  std::ranges::reverse(out);
  return out;
}

std::vector<Stretch> contiguous(std::vector<Stretch> in) {
  std::vector<Stretch> out;
  bool after_match = false;
  for (const Stretch& stretch : in) {
    if (stretch.is_match == after_match && !out.empty()) out.back().end = stretch.end;
    else out.push_back(stretch);
    after_match = stretch.is_match;
  }
  return out;
}

std::string normal_form(std::string_view text, int options) {
  utf8proc_uint8_t* out = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), utf8proc_ssize_t(text.size()), &out,
                                   utf8proc_option_t(options | UTF8PROC_STABLE));
  HEDDLE_CHECK(length >= 0, "utf8proc_map: {}", utf8proc_errmsg(length));  // it is UTF-8 already
  std::string result(reinterpret_cast<const char*>(out), std::size_t(length));
  std::free(out);
  return result;
}

constexpr struct {
  std::string_view op;
  int options;  // of utf8proc
} normal_forms[] = {{"nfc", UTF8PROC_COMPOSE},
                    {"nfd", UTF8PROC_DECOMPOSE},
                    {"nfkc", UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
                    {"nfkd", UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};

constexpr struct {
  std::string_view op;
  std::vector<Stretch> (*merge)(std::vector<Stretch>);
} cuts[] = {{"isolated", isolated},
            {"removed", removed},
            {"merged_with_previous", merged_with_previous},
            {"merged_with_next", merged_with_next},
            {"contiguous", contiguous}};

}  // namespace

struct TextSteps::Step {
  enum { normalize, replace, prepend, prepend_once, cut } kind;
  int normal_form = 0;
  std::vector<Stretch> (*merge)(std::vector<Stretch>) = nullptr;
  std::optional<Expression> expression;
  std::string text;
  bool first = false, invert = false;

  static Result<std::unique_ptr<Step>> create(const plan::TextStep& from) {
    auto step = std::make_unique<Step>();
    step->text = from.text;
    step->first = from.first;
    step->invert = from.invert;
    if (from.op == "prepend" || from.op == "prepend_once") {
      step->kind = from.op == "prepend" ? prepend : prepend_once;
      return step;
    }
    for (const auto& form : normal_forms) {
      if (from.op != form.op) continue;
      step->kind = normalize;
      step->normal_form = form.options;
      return step;
    }
    const auto way = std::ranges::find(cuts, from.op, [](const auto& row) { return row.op; });
    if (way == std::end(cuts) && from.op != "replace") return error("'{}' is not supported", from.op);
    step->kind = from.op == "replace" ? replace : cut;
    if (step->kind == cut) step->merge = way->merge;
    HEDDLE_ASSIGN(step->expression, Expression::compile(from.pattern, /*lines=*/true));  // as Oniguruma, which the patterns are written for
    return step;
  }

  /// What the step makes of a text that it does not cut.
  std::string rewritten(std::string_view from, bool at_start) const {
    if (kind == normalize) return text::normal_form(from, normal_form);
    if (kind == replace) {
      Matches matches;
      expression->find(from, matches);
      std::string out;
      std::size_t done = 0;
      for (const auto& [begin, end] : matches) {
        (out += from.substr(done, begin - done)) += text;
        done = end;
      }
      return out += from.substr(done);
    }
    const bool wanted = !from.empty() && (kind == prepend || (!from.starts_with(text) && (!first || at_start)));
    return fmt::format("{}{}", wanted ? std::string_view(text) : std::string_view(), from);
  }
};

TextSteps::TextSteps() = default;
TextSteps::TextSteps(TextSteps&&) noexcept = default;
TextSteps& TextSteps::operator=(TextSteps&&) noexcept = default;
TextSteps::~TextSteps() = default;

Result<TextSteps> TextSteps::create(std::span<const plan::TextStep> steps) {
  TextSteps out;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    auto step = Step::create(steps[i]);
    if (!step.ok()) return step.take_error().at(fmt::format("step {}", i));
    out.steps_.push_back(std::move(*step));
  }
  return out;
}

void TextSteps::cut_at(std::string_view pattern) {
  auto step = std::make_unique<Step>();
  step->kind = Step::cut;
  step->merge = isolated;
  auto expression = Expression::compile(pattern);
  step->expression.emplace(std::move(expression.value()));
  steps_.push_back(std::move(step));
}

void TextSteps::run(Pieces& pieces) const {
  std::vector<std::string_view> next;
  Matches matches;
  for (const auto& step : steps_) {
    next.clear();
    for (std::size_t i = 0; i < pieces.texts.size(); ++i) {
      const std::string_view piece = pieces.texts[i];
      if (step->kind != Step::cut) {
        const std::string& own = pieces.own.emplace_back(step->rewritten(piece, pieces.at_start && i == 0));
        if (!own.empty()) next.push_back(own);
        continue;
      }
      matches.clear();
      step->expression->find(piece, matches);
      for (const Stretch& stretch : step->merge(stretches_of(piece, matches, step->invert)))
        next.push_back(piece.substr(stretch.begin, stretch.end - stretch.begin));
    }
    pieces.texts.swap(next);
  }
}

std::string TextSteps::rewrite(std::string_view text, bool at_start) const {
  std::string out(text);
  for (const auto& step : steps_) {
    HEDDLE_CHECK(step->kind != Step::cut);
    out = step->rewritten(out, at_start);
  }
  return out;
}

}  // namespace heddle::text
