// Reads lesson.md: front matter, steps, and the blocks in them.

#include "lessons/reader/lesson.h"
#include "lessons/reader/parse.h"
#include "lessons/reader/words.h"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <set>
#include <yaml-cpp/yaml.h>

namespace skbscope {

namespace fs = std::filesystem;
using lesson_words::number;
using lesson_words::trimmed;

namespace {

using Severity = Finding::Severity;

constexpr std::size_t max_block_bytes = 64 * 1024;

std::vector<std::string_view> lines_of(std::string_view text)
{
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        if (line.ends_with('\r')) {
            line.remove_suffix(1);
        }
        lines.push_back(line);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

/// Bytes that no text holds; they could drive a terminal.
bool is_control(char c)
{
    return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' && c != '\r';
}

bool is_inside(const fs::path& folder, const fs::path& file)
{
    std::error_code error;
    const fs::path root = fs::canonical(folder, error);
    if (error) {
        return false;
    }
    const fs::path real = fs::weakly_canonical(file, error);
    if (error) {
        return false;
    }
    const auto [in_root, in_real] = std::mismatch(root.begin(), root.end(), real.begin(), real.end());
    return in_root == root.end() && in_real != real.end();
}

/// Reads one lesson. Problems are collected; what could be read stays usable.
class Reader {
public:
    Reader(const fs::path& folder, std::string text) : text_(std::move(text)), lines_(lines_of(text_))
    {
        parsed_.lesson.folder = folder;
        fs::path named = folder;
        if (named.filename().empty()) { // "lessons/01-x/"
            named = named.parent_path();
        }
        parsed_.lesson.id = named.filename().string();
    }

    lesson_parse::Parsed read()
    {
        std::size_t at = read_front_matter();
        at = read_steps(at);
        if (parsed_.lesson.steps.empty() && parsed_.findings.empty()) {
            add(Severity::error, static_cast<int>(at), 1, "the lesson has no steps",
                "begin each step with a line '## Title'");
        }
        return std::move(parsed_);
    }

private:
    void add(Severity severity, int line, int column, std::string text, std::string remedy = {})
    {
        parsed_.findings.push_back({severity, parsed_.lesson.folder / "lesson.md", line, column,
                                    std::move(text), std::move(remedy)});
    }

    TextPlace place_of(const YAML::Node& node) const
    {
        const YAML::Mark mark = node.Mark();
        return mark.is_null() ? TextPlace{block_line_, 1}
                              : TextPlace{block_line_ + mark.line, mark.column + 1};
    }

    void add_at(const YAML::Node& node, std::string text, std::string remedy = {})
    {
        const TextPlace place = place_of(node);
        add(Severity::error, place.line, place.column, std::move(text), std::move(remedy));
    }

    /// The block as YAML; its first line is line `first` (0-based) of the file. A null node after an error.
    YAML::Node yaml(std::size_t first, std::size_t end)
    {
        std::string block;
        for (std::size_t i = first; i < end; ++i) {
            block += std::string(lines_[i]) + '\n';
        }
        block_line_ = static_cast<int>(first) + 1;
        if (block.size() > max_block_bytes) {
            add(Severity::error, block_line_, 1, "the block is too long", "keep a block below 64 KiB");
            return {};
        }
        try {
            YAML::Node node = YAML::Load(block);
            if (!node.IsMap()) {
                add(Severity::error, block_line_, 1, "the block is not a list of 'key: value'");
                return {};
            }
            return node;
        } catch (const YAML::Exception& error) {
            const bool known = !error.mark.is_null();
            add(Severity::error, block_line_ + (known ? error.mark.line : 0),
                known ? error.mark.column + 1 : 1, error.msg);
            return {};
        }
    }

    /// Calls take(key, value) for each entry; unknown keys (take returns false) and doubles are errors.
    template <typename Take>
    void each(const YAML::Node& map, std::string_view what, std::string_view known, Take take)
    {
        std::set<std::string> seen;
        for (const auto& entry : map) {
            if (!entry.first.IsScalar()) {
                add_at(entry.first, fmt::format("a key of {} is not a word", what));
                continue;
            }
            const std::string key = entry.first.Scalar();
            if (!seen.insert(key).second) {
                add_at(entry.first, fmt::format("'{}' is there twice", key));
            } else if (!take(key, entry.second)) {
                add_at(entry.first, fmt::format("{} has no '{}'", what, key),
                       fmt::format("it has: {}", known));
            }
        }
    }

    std::string text_of(const YAML::Node& node, std::string_view what)
    {
        if (!node.IsScalar()) {
            add_at(node, fmt::format("'{}' must be a text", what));
            return {};
        }
        return std::string(trimmed(node.Scalar()));
    }

    bool flag_of(const YAML::Node& node, std::string_view what)
    {
        bool value = false;
        if (!node.IsScalar() || !YAML::convert<bool>::decode(node, value)) {
            add_at(node, fmt::format("'{}' is true or false", what));
        }
        return value;
    }

    /// A list, or one word in place of a list of one.
    std::vector<YAML::Node> items_of(const YAML::Node& node)
    {
        std::vector<YAML::Node> items;
        if (node.IsSequence()) {
            for (const auto& item : node) {
                items.push_back(item);
            }
        } else if (node.IsDefined() && !node.IsNull()) {
            items.push_back(node);
        }
        return items;
    }

    // ---- front matter
    // ------------------------------------------------------------------------------------------------

    std::size_t read_front_matter()
    {
        if (lines_.empty() || trimmed(lines_[0]) != "---") {
            add(Severity::error, 1, 1, "the front matter is missing",
                "begin with '---', then title: and scenario: lines, then '---'");
            return 0;
        }
        std::size_t end = 1;
        while (end < lines_.size() && trimmed(lines_[end]) != "---") {
            ++end;
        }
        if (end == lines_.size()) {
            add(Severity::error, 1, 1, "the front matter does not end", "close it with a line '---'");
            return end;
        }
        const YAML::Node map = yaml(1, end);
        if (map.IsMap()) {
            read_front_keys(map);
        }
        return end + 1;
    }

    void read_front_keys(const YAML::Node& map)
    {
        Lesson& lesson = parsed_.lesson;
        each(map, "the front matter", "title, summary, language, kernel, scenario, recording",
             [&](const std::string& key, const YAML::Node& value) {
                 if (key == "title") {
                     lesson.title = text_of(value, key);
                 } else if (key == "summary") {
                     lesson.summary = text_of(value, key);
                 } else if (key == "language") {
                     lesson.language = text_of(value, key);
                 } else if (key == "kernel") {
                     lesson.kernel = text_of(value, key);
                 } else if (key == "scenario") {
                     lesson.scenario = file_of(value, key);
                 } else if (key == "recording") {
                     lesson.recording = file_of(value, key);
                 } else {
                     return false;
                 }
                 return true;
             });
        if (lesson.title.empty()) {
            add(Severity::error, 2, 1, "the lesson has no title", "add 'title: …' to the front matter");
        }
        if (lesson.scenario.empty() == lesson.recording.empty()) {
            add(Severity::error, 2, 1,
                lesson.scenario.empty() ? "the lesson names nothing to play"
                                        : "the lesson names a scenario and a recording",
                "add either 'scenario: FILE' or 'recording: FILE' to the front matter");
        }
    }

    /// A file inside the lesson's folder; empty after an error.
    fs::path file_of(const YAML::Node& node, std::string_view what)
    {
        const std::string name = text_of(node, what);
        const fs::path path(name);
        if (name.empty() || path.is_absolute() ||
            !is_inside(parsed_.lesson.folder, parsed_.lesson.folder / path)) {
            if (!name.empty()) {
                add_at(node, fmt::format("'{}' leaves the lesson's folder", name),
                       "put the file beside lesson.md");
            }
            return {};
        }
        const fs::path file = parsed_.lesson.folder / path;
        std::error_code error;
        if (!fs::is_regular_file(file, error)) {
            add_at(node, fmt::format("there is no file '{}'", name), "put it beside lesson.md");
        }
        return file;
    }

    // ---- steps
    // -------------------------------------------------------------------------------------------------------

    std::size_t read_steps(std::size_t at)
    {
        LessonStep* step = nullptr;
        while (at < lines_.size()) {
            const std::string_view line = lines_[at];
            const int here = static_cast<int>(at) + 1;
            if (line.starts_with("## ")) {
                if (parsed_.lesson.steps.size() >= max_lesson_steps) {
                    add(Severity::error, here, 1, "too many steps",
                        fmt::format("a lesson has at most {}", max_lesson_steps));
                    return at;
                }
                finish(step);
                step = &parsed_.lesson.steps.emplace_back();
                step->title = std::string(trimmed(line.substr(3)));
                step->place = {here, 1};
                step->stop.place = {here, 1};
                has_stop_ = false;
                ++at;
            } else if (line.starts_with("```")) {
                at = read_fence(at, step);
            } else {
                if (step != nullptr) {
                    step->body += std::string(line) + '\n';
                } else if (!trimmed(line).empty() && !line.starts_with("# ")) {
                    add(Severity::error, here, 1, "text before the first step",
                        "begin each step with a line '## Title'");
                    return at;
                }
                ++at;
            }
        }
        finish(step);
        return at;
    }

    void finish(LessonStep* step)
    {
        if (step == nullptr) {
            return;
        }
        step->body = std::string(trimmed(step->body));
        if (!has_stop_) {
            add(Severity::warning, step->place.line, 1,
                fmt::format("step '{}' does not say where to stop", step->title),
                "add a block ```stop with 'at: …'; without it the step stays at the begin");
        }
        if (step->body.empty()) {
            add(Severity::warning, step->place.line, 1, fmt::format("step '{}' has no text", step->title));
        }
    }

    /// A fenced block from line `at`; returns the line behind it.
    std::size_t read_fence(std::size_t at, LessonStep* step)
    {
        const std::string_view kind = trimmed(lines_[at].substr(3));
        std::size_t end = at + 1;
        while (end < lines_.size() &&
               !(lines_[end].starts_with("```") && trimmed(lines_[end].substr(3)).empty())) {
            ++end;
        }
        const int here = static_cast<int>(at) + 1;
        if (end == lines_.size()) {
            add(Severity::error, here, 1, "the block does not end", "close it with a line ```");
            return end;
        }
        const bool ours = kind == "stop" || kind == "question" || kind == "experiment";
        if (step == nullptr) {
            add(Severity::error, here, 1, "a block before the first step",
                "begin each step with a line '## Title'");
            return end + 1;
        }
        if (!ours) {
            for (std::size_t i = at; i <= end; ++i) {
                step->body += std::string(lines_[i]) + '\n';
            }
            return end + 1;
        }
        const YAML::Node map = yaml(at + 1, end);
        if (!map.IsMap()) {
            return end + 1;
        }
        if (kind == "stop") {
            read_stop(map, *step, here);
        } else if (kind == "question") {
            read_question(map, *step, here);
        } else {
            read_experiment(map, *step, here);
        }
        return end + 1;
    }

    void read_stop(const YAML::Node& map, LessonStep& step, int here)
    {
        if (has_stop_) {
            add(Severity::error, here, 1, "the step has two stops",
                "keep one; a second stop is a second step");
        }
        has_stop_ = true;
        bool has_at = false;
        each(map, "a stop", "at, select, rooms, functions, unfold",
             [&](const std::string& key, const YAML::Node& value) {
                 if (key == "at") {
                     has_at = true;
                     auto stop = parse_stop(text_of(value, key));
                     if (!stop) {
                         add_at(value, stop.error().what, stop.error().remedy);
                     } else {
                         step.stop = std::move(*stop);
                         step.stop.place = place_of(value);
                         check_function(step.stop.function, value);
                     }
                 } else if (key == "select") {
                     const auto id = number<std::uint32_t>(text_of(value, key));
                     if (!id || *id == 0) {
                         add_at(value, "'select' wants the number of a packet, from 1");
                     } else {
                         step.select = static_cast<PacketId>(*id);
                     }
                 } else if (key == "rooms") {
                     for (const YAML::Node& item : items_of(value)) {
                         read_room(item, step);
                     }
                 } else if (key == "functions") {
                     for (const YAML::Node& item : items_of(value)) {
                         const std::string name = text_of(item, key);
                         check_function(name, item);
                         step.functions.push_back(Catalog::find_function(name));
                     }
                 } else if (key == "unfold") {
                     for (const YAML::Node& item : items_of(value)) {
                         read_panel(item, step);
                     }
                 } else {
                     return false;
                 }
                 return true;
             });
        if (!has_at) {
            add(Severity::error, here, 1, "the stop does not say where",
                "add 'at: packet 1 enters ip_rcv', for example");
        }
        if (step.select == PacketId::none) {
            step.select = step.stop.packet;
        }
    }

    void check_function(const std::string& name, const YAML::Node& node)
    {
        if (name.empty() || Catalog::find_function(name) != FunctionId::none) {
            return;
        }
        const auto near = Catalog::resolve(name).suggestions;
        add_at(node, fmt::format("no function '{}'", name),
               near.empty() ? "" : fmt::format("did you mean {}?", near.front()));
    }

    void read_room(const YAML::Node& item, LessonStep& step)
    {
        const std::string key = text_of(item, "rooms");
        const RoomId room = Catalog::find_room(key);
        if (room != RoomId::none) {
            step.rooms.push_back(room);
            return;
        }
        std::string known;
        for (const Room& any : Catalog::rooms().subspan(1)) {
            known += (known.empty() ? "" : ", ") + std::string(any.key);
        }
        add_at(item, fmt::format("no room '{}'", key), "there are: " + known);
    }

    void read_panel(const YAML::Node& item, LessonStep& step)
    {
        static constexpr std::array<std::string_view, 8> panels = {"packet", "skb",  "journey",  "function",
                                                                   "queues", "cpus", "controls", "map"};
        const std::string name = text_of(item, "unfold");
        if (std::find(panels.begin(), panels.end(), name) == panels.end()) {
            add_at(item, fmt::format("no panel '{}'", name),
                   "there are: packet, skb, journey, function, queues, cpus, controls, map");
            return;
        }
        step.panels.push_back(name);
    }

    Goal read_goal(const YAML::Node& node, std::string_view what)
    {
        auto goal = parse_goal(text_of(node, what));
        if (!goal) {
            add_at(node, goal.error().what, goal.error().remedy);
            return {};
        }
        goal->place = place_of(node);
        for (const Condition& condition : goal->conditions) {
            if (condition.measure == Condition::Measure::calls) {
                check_function(condition.argument, node);
            }
        }
        return std::move(*goal);
    }

    void read_question(const YAML::Node& map, LessonStep& step, int here)
    {
        if (step.question) {
            add(Severity::error, here, 1, "the step has two questions", "a second question is a second step");
        }
        Question question;
        question.place = {here, 1};
        each(map, "a question", "ask, choices, proof", [&](const std::string& key, const YAML::Node& value) {
            if (key == "ask") {
                question.prompt = text_of(value, key);
            } else if (key == "choices") {
                if (!value.IsSequence()) {
                    add_at(value, "'choices' must be a list", "begin each choice with '- text: …'");
                    return true;
                }
                for (const auto& item : value) {
                    question.choices.push_back(read_choice(item));
                }
            } else if (key == "proof") {
                question.proof = read_goal(value, key);
            } else {
                return false;
            }
            return true;
        });
        const auto right = std::count_if(question.choices.begin(), question.choices.end(),
                                         [](const Choice& c) { return c.correct; });
        if (question.prompt.empty()) {
            add(Severity::error, here, 1, "the question does not ask", "add 'ask: …'");
        }
        if (question.choices.size() < 2 || question.choices.size() > 8) {
            add(Severity::error, here, 1, "a question has two to eight choices");
        } else if (right != 1) {
            add(Severity::error, here, 1,
                fmt::format("the question has {} right answers", right == 0 ? "no" : "several"),
                "give exactly one choice 'right: true'");
        }
        step.question = std::move(question);
    }

    Choice read_choice(const YAML::Node& item)
    {
        Choice choice;
        if (!item.IsMap()) {
            add_at(item, "a choice needs 'text:' and 'because:'");
            return choice;
        }
        each(item, "a choice", "text, right, because", [&](const std::string& key, const YAML::Node& value) {
            if (key == "text") {
                choice.text = text_of(value, key);
            } else if (key == "right") {
                choice.correct = flag_of(value, key);
            } else if (key == "because") {
                choice.explanation = text_of(value, key);
            } else {
                return false;
            }
            return true;
        });
        if (choice.text.empty() || choice.explanation.empty()) {
            add_at(item, "a choice needs a text and an explanation",
                   "add 'because: …': a wrong answer teaches most");
        }
        return choice;
    }

    void read_experiment(const YAML::Node& map, LessonStep& step, int here)
    {
        if (step.experiment) {
            add(Severity::error, here, 1, "the step has two experiments",
                "a second experiment is a second step");
        }
        Experiment experiment;
        experiment.place = {here, 1};
        each(map, "an experiment", "try, knobs, do, goal, after, fresh",
             [&](const std::string& key, const YAML::Node& value) {
                 if (key == "try") {
                     experiment.prompt = text_of(value, key);
                 } else if (key == "knobs") {
                     read_knobs(value, experiment);
                 } else if (key == "do") {
                     for (const YAML::Node& item : items_of(value)) {
                         read_action(item, experiment);
                     }
                 } else if (key == "goal") {
                     experiment.goal = read_goal(value, key);
                 } else if (key == "after") {
                     experiment.after = text_of(value, key);
                 } else if (key == "fresh") {
                     experiment.from_start = flag_of(value, key);
                 } else {
                     return false;
                 }
                 return true;
             });
        if (experiment.prompt.empty()) {
            add(Severity::error, here, 1, "the experiment does not say what to try", "add 'try: …'");
        }
        if (experiment.goal.empty()) {
            add(Severity::error, here, 1, "the experiment has no goal",
                "add 'goal: delivered == 4', for example");
        }
        // A recording cannot be changed; there an experiment is something to count or to find.
        const bool changes = !experiment.knobs.empty() || !experiment.actions.empty();
        if (changes == parsed_.lesson.scenario.empty()) {
            add(Severity::error, here, 1,
                changes ? "a recording has no knobs and no actions" : "the experiment changes nothing",
                changes ? "let the goal measure what the recording holds" : "add 'knobs:' or 'do:'");
        }
        step.experiment = std::move(experiment);
    }

    void read_knobs(const YAML::Node& value, Experiment& experiment)
    {
        if (!value.IsMap()) {
            add_at(value, "'knobs' must be 'key: number' lines");
            return;
        }
        for (const auto& entry : value) {
            const std::string key = text_of(entry.first, "knobs");
            const auto amount = number<std::int64_t>(text_of(entry.second, key));
            if (!amount) {
                add_at(entry.second, fmt::format("the value of '{}' is not a whole number", key));
            } else {
                experiment.knobs.push_back({key, *amount, place_of(entry.first)});
            }
        }
    }

    /// "send_one" or "send_one: 3".
    void read_action(const YAML::Node& item, Experiment& experiment)
    {
        if (item.IsScalar()) {
            experiment.actions.push_back({text_of(item, "do"), 1, place_of(item)});
            return;
        }
        if (!item.IsMap() || item.size() != 1) {
            add_at(item, "an action is a word, or 'word: times'");
            return;
        }
        const auto entry = *item.begin();
        const auto times = number<unsigned>(text_of(entry.second, "do"));
        if (!times || *times == 0 || *times > 1000) {
            add_at(entry.second, "an action is done 1 to 1000 times");
            return;
        }
        experiment.actions.push_back({text_of(entry.first, "do"), *times, place_of(entry.first)});
    }

    std::string text_;
    std::vector<std::string_view> lines_;
    lesson_parse::Parsed parsed_;
    int block_line_ = 1; ///< line of the file that the current YAML block begins on
    bool has_stop_ = false;
};

} // namespace

Result<lesson_parse::Parsed> lesson_parse::parse_folder(const fs::path& folder)
{
    const fs::path file = folder / "lesson.md";
    const std::string where = file.string();
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
        return fail(ErrorKind::not_found, folder.string(), "no such lesson folder",
                    "a lesson is a folder with lesson.md in it");
    }
    if (!fs::is_regular_file(file, error)) {
        return fail(ErrorKind::not_found, where, "the folder holds no lesson.md");
    }
    if (!is_inside(folder, file)) {
        return fail(ErrorKind::invalid, where, "it is a link that leaves the lesson's folder");
    }
    const auto size = fs::file_size(file, error);
    if (error || size > max_lesson_bytes) {
        return fail(ErrorKind::invalid, where, error ? "its size cannot be told" : "larger than 1 MiB",
                    error ? "" : "a lesson is a text; put large things into the recording");
    }
    std::ifstream in(file, std::ios::binary);
    std::string text(size, '\0');
    in.read(text.data(), static_cast<std::streamsize>(size));
    if (!in && size != 0) {
        return fail(ErrorKind::unreadable, where, "cannot be read");
    }
    if (const auto bad = std::find_if(text.begin(), text.end(), is_control); bad != text.end()) {
        const auto line = 1 + std::count(text.begin(), bad, '\n');
        return fail(ErrorKind::invalid, fmt::format("{}:{}", where, line), "holds a control character",
                    "a lesson is plain UTF-8 text");
    }
    return Reader(folder, std::move(text)).read();
}

std::size_t Question::correct_index() const
{
    const auto right =
        std::find_if(choices.begin(), choices.end(), [](const Choice& c) { return c.correct; });
    return static_cast<std::size_t>(right - choices.begin());
}

Result<Lesson> load_lesson(const fs::path& folder)
{
    auto parsed = lesson_parse::parse_folder(folder);
    if (!parsed) {
        return tl::unexpected(parsed.error());
    }
    for (const Finding& finding : parsed->findings) {
        if (finding.severity == Severity::error) {
            return fail(ErrorKind::invalid,
                        fmt::format("{}:{}:{}", finding.file.string(), finding.line, finding.column),
                        finding.text, finding.remedy);
        }
    }
    return std::move(parsed->lesson);
}

std::vector<LessonEntry> list_lessons(const fs::path& dir)
{
    std::vector<LessonEntry> entries;
    std::error_code error;
    for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
        if (!fs::is_regular_file(at->path() / "lesson.md", error)) {
            error.clear();
            continue;
        }
        LessonEntry entry;
        entry.folder = at->path();
        entry.id = at->path().filename().string();
        if (auto lesson = load_lesson(at->path())) {
            entry.title = lesson->title;
            entry.summary = lesson->summary;
            entry.language = lesson->language;
            entry.uses_model = lesson->uses_model();
        } else {
            entry.error = lesson.error();
        }
        entries.push_back(std::move(entry));
    }
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    return entries;
}

Result<fs::path> find_lesson(const fs::path& dir, std::string_view id)
{
    std::vector<fs::path> beginning;
    std::string known;
    for (const LessonEntry& entry : list_lessons(dir)) {
        if (entry.id == id) {
            return entry.folder;
        }
        if (entry.id.starts_with(id) && !id.empty()) {
            beginning.push_back(entry.folder);
        }
        known += (known.empty() ? "" : ", ") + entry.id;
    }
    // "01" means 01-a-datagram-arrives, although its variant's name begins with it too: the shortest one
    // wins.
    if (!beginning.empty()) {
        return *std::min_element(beginning.begin(), beginning.end(), [](const auto& a, const auto& b) {
            return a.filename().string().size() < b.filename().string().size();
        });
    }
    return fail(ErrorKind::not_found, std::string(id), "no such lesson",
                known.empty() ? "there are no lessons in " + dir.string() : "there are: " + known);
}

} // namespace skbscope
