// Catalog::resolve(): any name of the articles, to what it is today.

#include "core/catalog/catalog.h"
#include "core/catalog/data.h"

#include <algorithm>
#include <utility>

namespace skbscope {

namespace data = catalog_data;

namespace {

std::span<const data::NameRow> names()
{
    return {data::names, data::counts.names};
}

/// Levenshtein distance, given up on (limit + 1) where it must exceed limit.
std::size_t distance(std::string_view a, std::string_view b, std::size_t limit)
{
    if (a.size() > b.size() + limit || b.size() > a.size() + limit) {
        return limit + 1;
    }
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[b.size()];
}

std::vector<std::string> near_names(std::string_view asked)
{
    const std::size_t limit = std::clamp<std::size_t>(asked.size() / 3, 1, 4);
    std::vector<std::pair<std::size_t, std::string_view>> found;
    const auto consider = [&](std::string_view name) {
        std::size_t d = distance(asked, name, limit);
        if (d > limit && asked.size() >= 5 && name.find(asked) != std::string_view::npos) {
            d = limit;
        }
        if (d <= limit) {
            found.emplace_back(d, name);
        }
    };
    for (const Function& f : Catalog::functions().subspan(1)) {
        consider(f.name);
    }
    for (const data::NameRow& row : names()) {
        consider(row.name);
    }
    for (const Setting& s : Catalog::settings()) {
        consider(s.name);
    }
    for (const Stage& s : Catalog::stages().subspan(1)) {
        consider(s.key);
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string> out;
    for (const auto& [d, name] : found) {
        if (out.size() < 5 && std::find(out.begin(), out.end(), name) == out.end()) {
            out.emplace_back(name);
        }
    }
    return out;
}

/// '*' stands for any run of characters.
bool matches(std::string_view pattern, std::string_view text)
{
    const std::size_t star = pattern.find('*');
    if (star == std::string_view::npos) {
        return pattern == text;
    }
    if (!text.starts_with(pattern.substr(0, star))) {
        return false;
    }
    const std::string_view rest = pattern.substr(star + 1);
    for (std::size_t at = star; at <= text.size(); ++at) {
        if (matches(rest, text.substr(at))) {
            return true;
        }
    }
    return false;
}

Resolution resolve_pattern(std::string_view pattern)
{
    Resolution answer{Resolution::Kind::unknown, std::string(pattern), FunctionId::none, {}, {}, {}};
    for (const data::NameRow& row : names()) {
        if (matches(pattern, row.name)) {
            answer.kind = answer.kind == Resolution::Kind::unknown ? row.kind : answer.kind;
            answer.today += (answer.today.empty() ? "" : ", ") + std::string(row.name);
            answer.text += (answer.text.empty() ? "" : "\n") + std::string(row.name);
            answer.text +=
                (row.today.empty() ? "" : " (" + std::string(row.today) + ")") + ": " + std::string(row.text);
        }
    }
    for (const Function& f : Catalog::functions().subspan(1)) {
        if (matches(pattern, f.name)) {
            answer.kind = answer.kind == Resolution::Kind::unknown ? Resolution::Kind::function : answer.kind;
            answer.today += (answer.today.empty() ? "" : ", ") + std::string(f.name);
            answer.text +=
                (answer.text.empty() ? "" : "\n") + std::string(f.name) + ": " + std::string(f.what);
        }
    }
    for (const Setting& s : Catalog::settings()) {
        if (matches(pattern, s.name)) {
            answer.kind = answer.kind == Resolution::Kind::unknown ? Resolution::Kind::setting : answer.kind;
            answer.today += (answer.today.empty() ? "" : ", ") + std::string(s.name);
            answer.text +=
                (answer.text.empty() ? "" : "\n") + std::string(s.name) + ": " + std::string(s.meaning);
        }
    }
    return answer;
}

std::string function_text(const Function& f)
{
    std::string text(f.what);
    for (const std::string_view part : {f.other_names, f.note}) {
        if (!part.empty()) {
            text += ' ' + std::string(part) + (part.ends_with('.') ? "" : ".");
        }
    }
    return text;
}

Resolution from_row(std::string_view asked, const data::NameRow& row)
{
    std::string today(row.today);
    if (today.empty()) {
        today = row.function == FunctionId::none ? std::string(row.name)
                                                 : std::string(Catalog::function(row.function).name);
    }
    return {row.kind, std::string(asked), row.function, std::move(today), std::string(row.text), {}};
}

} // namespace

Resolution Catalog::resolve(std::string_view name)
{
    const std::string asked(name);
    if (name.ends_with("()")) {
        name.remove_suffix(2);
    }
    if (name.find('*') != std::string_view::npos && find_setting(name) == nullptr) {
        Resolution answer = resolve_pattern(name);
        answer.asked = asked;
        return answer;
    }
    // The words written for a name come first: they know more than the table of functions.
    for (const data::NameRow& row : names()) {
        if (row.name == name) {
            return from_row(asked, row);
        }
    }
    if (const FunctionId id = find_function(name); id != FunctionId::none) {
        const Function& f = function(id);
        return {Resolution::Kind::function, asked, id, std::string(f.name), function_text(f), {}};
    }
    if (const Setting* setting = find_setting(name)) {
        std::string text(setting->meaning);
        text += text.empty() ? "" : ". ";
        text += "Default: " + std::string(setting->value) + ".";
        if (!setting->notes.empty()) {
            text += ' ' + std::string(setting->notes) + (setting->notes.ends_with('.') ? "" : ".");
        }
        return {Resolution::Kind::setting,  asked,           FunctionId::none,
                std::string(setting->name), std::move(text), {}};
    }
    if (const StageId id = find_stage(name); id != StageId::none) {
        return {Resolution::Kind::stage,
                asked,
                FunctionId::none,
                std::string(stage(id).key),
                std::string(stage(id).title) + ": " + std::string(stage(id).meaning),
                {}};
    }
    if (const DropReasonId id = find_drop_reason(name); id != DropReasonId::none) {
        return {Resolution::Kind::tracepoint,
                asked,
                FunctionId::none,
                std::string(drop_reason(id).name),
                "Drop reason of the tracepoint skb:kfree_skb. " + std::string(drop_reason(id).what),
                {}};
    }
    return {Resolution::Kind::unknown, asked, FunctionId::none, {}, "The catalog does not know this name.",
            near_names(name)};
}

} // namespace skbscope
