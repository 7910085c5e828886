#include "ir/op.h"

#include <array>
#include <string>
#include <vector>

#include "ir/base/check.h"

namespace heddle::ir {
namespace {

// The rows, with operand and attribute lists as text; they are split once at start.
struct Row {
  std::string_view name, operands, attrs, result;
  std::uint32_t traits;
  std::string_view doc;
};
#define OPERANDS(...) #__VA_ARGS__
#define OPTIONAL(...) "|" #__VA_ARGS__
#define VARIADIC(...) "*"
#define ATTRS(...) #__VA_ARGS__
constexpr Row rows[] = {
#define HEDDLE_OP(name, operands, attrs, result, traits, doc) {#name, operands, attrs, #result, traits, doc},
#include "ir/ops.def"
};
#undef OPERANDS
#undef OPTIONAL
#undef VARIADIC
#undef ATTRS

std::vector<std::string_view> split(std::string_view list) {
  std::vector<std::string_view> out;
  while (!list.empty()) {
    const auto end = list.find_first_of(",|");
    auto item = list.substr(0, end);
    while (item.starts_with(' ')) item.remove_prefix(1);
    if (!item.empty()) out.push_back(item);
    list = end == list.npos ? std::string_view() : list.substr(end + 1);
  }
  return out;
}

struct Tables {
  std::vector<std::vector<std::string_view>> operands;
  std::vector<std::vector<AttrInfo>> attrs;
  std::vector<OpInfo> infos;

  Tables() {
    operands.reserve(std::size(rows));
    attrs.reserve(std::size(rows));
    for (const Row& row : rows) {
      OpInfo info;
      info.name = row.name, info.result_rule = row.result, info.traits = row.traits, info.doc = row.doc;
      info.variadic = row.operands == "*";
      operands.push_back(info.variadic ? std::vector<std::string_view>() : split(row.operands));
      info.required = info.variadic ? 0 : split(row.operands.substr(0, row.operands.find('|'))).size();
      info.operands = operands.back();
      const auto words = split(row.attrs);
      auto& list = attrs.emplace_back();
      for (std::size_t i = 0; i + 1 < words.size(); i += 2)
        list.push_back({words[i] == "i64" ? AttrKind::i64 : words[i] == "f32" ? AttrKind::f32 : AttrKind::str, words[i + 1]});
      info.attrs = list;
      infos.push_back(info);
    }
  }
};
const Tables& tables() {
  static const Tables instance;
  return instance;
}

}  // namespace

const OpInfo& info(Op op) { return tables().infos[std::size_t(op)]; }
std::span<const OpInfo> all_ops() { return tables().infos; }

std::optional<Op> op_named(std::string_view name) {
  for (std::size_t i = 0; i < std::size(rows); ++i)
    if (rows[i].name == name) return Op(i);
  return std::nullopt;
}

int OpInfo::operand_index(std::string_view wanted) const {
  for (std::size_t i = 0; i < operands.size(); ++i)
    if (operands[i] == wanted) return int(i);
  return -1;
}

int OpInfo::attr_index(std::string_view wanted) const {
  for (std::size_t i = 0; i < attrs.size(); ++i)
    if (attrs[i].name == wanted) return int(i);
  return -1;
}

}  // namespace heddle::ir
