// Reads the catalog's tables and writes them as C++: catalog_data.cpp and the id headers. Runs at build time;
// an error in a table stops the build with "file:line: reason".
//
// Tables are UTF-8, tab-separated, one header line. A line that begins with '#' is a remark.

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Row {
    std::string file;
    int line = 0;
    std::map<std::string, std::string> cells;
};

[[noreturn]] void stop(const std::string& file, int line, const std::string& why)
{
    std::cerr << file << ':' << line << ": " << why << '\n';
    std::exit(1);
}

[[noreturn]] void stop(const Row& row, const std::string& why)
{
    stop(row.file, row.line, why);
}

const std::string& cell(const Row& row, const std::string& column)
{
    const auto found = row.cells.find(column);
    if (found == row.cells.end()) {
        stop(row, "no column '" + column + "'");
    }
    return found->second;
}

std::vector<std::string> split(const std::string& text, char separator)
{
    std::vector<std::string> parts;
    std::string part;
    for (const char c : text) {
        if (c == separator) {
            parts.push_back(part);
            part.clear();
        } else {
            part += c;
        }
    }
    parts.push_back(part);
    return parts;
}

std::string trimmed(const std::string& text)
{
    const auto first = text.find_first_not_of(' ');
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<std::string> list(const std::string& text)
{
    std::vector<std::string> parts;
    for (const std::string& part : split(text, ',')) {
        if (!trimmed(part).empty()) {
            parts.push_back(trimmed(part));
        }
    }
    return parts;
}

std::vector<Row> read_table(const std::filesystem::path& path)
{
    std::ifstream in(path);
    if (!in) {
        stop(path.string(), 0, "cannot be read");
    }
    std::vector<Row> rows;
    std::vector<std::string> columns;
    std::string line;
    for (int number = 1; std::getline(in, line); ++number) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        const std::vector<std::string> cells = split(line, '\t');
        if (columns.empty()) {
            columns = cells;
            continue;
        }
        if (cells.size() != columns.size()) {
            stop(path.string(), number,
                 std::to_string(cells.size()) + " cells, the header has " + std::to_string(columns.size()));
        }
        Row row{path.string(), number, {}};
        for (std::size_t i = 0; i < cells.size(); ++i) {
            row.cells[columns[i]] = cells[i];
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

/// A table whose rows have a unique key; ids count from 1 in the order of the file.
struct Keyed {
    std::vector<Row> rows;
    std::map<std::string, int> ids;
};

Keyed read_keyed(const std::filesystem::path& path, const std::string& key)
{
    Keyed table{read_table(path), {}};
    int id = 0;
    for (const Row& row : table.rows) {
        const std::string& name = cell(row, key);
        if (name.empty() || !table.ids.emplace(name, ++id).second) {
            stop(row, name.empty() ? "empty " + key : "'" + name + "' is there twice");
        }
    }
    return table;
}

int id_of(const Keyed& table, const Row& row, const std::string& name, const std::string& kind)
{
    if (name.empty()) {
        return 0;
    }
    const auto found = table.ids.find(name);
    if (found == table.ids.end()) {
        stop(row, "unknown " + kind + " '" + name + "'");
    }
    return found->second;
}

std::string literal(const std::string& text)
{
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        out += c;
    }
    return out + '"';
}

std::string contexts(const Row& row, const std::string& text)
{
    int bits = 0;
    for (const std::string& name : list(text)) {
        if (name == "process") {
            bits |= 1;
        } else if (name == "softirq") {
            bits |= 2;
        } else if (name == "hardirq") {
            bits |= 4;
        } else if (name == "hardware") {
            bits |= 128;
        } else {
            stop(row, "unknown context '" + name + "'");
        }
    }
    return std::to_string(bits);
}

std::string direction(const Row& row)
{
    const std::string& text = cell(row, "direction");
    if (text != "rx" && text != "tx" && text != "both") {
        stop(row, "direction is rx, tx or both, not '" + text + "'");
    }
    return "Direction::" + text;
}

std::string without_clone_suffix(const std::string& symbol)
{
    const auto dot = symbol.find('.');
    return dot == std::string::npos ? symbol : symbol.substr(0, dot);
}

/// "ip_rcv(notrace)" is a symbol that ftrace cannot attach to.
std::pair<std::string, bool> symbol_of(const std::string& text)
{
    const auto mark = text.find("(notrace)");
    return mark == std::string::npos ? std::pair{text, !text.empty()}
                                     : std::pair{text.substr(0, mark), false};
}

std::string identifier(std::string key)
{
    for (char& c : key) {
        if (c == '.' || c == '-') {
            c = '_';
        }
    }
    return key;
}

void write_if_changed(const std::filesystem::path& path, const std::string& text)
{
    std::ifstream old(path, std::ios::binary);
    std::stringstream content;
    content << old.rdbuf();
    if (old && content.str() == text) {
        // The build tool compares times, not contents: touch it, or it runs this program for ever.
        std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now());
        return;
    }
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << text;
    if (!out.flush()) {
        stop(path.string(), 0, "cannot be written");
    }
}

void write_ids(const std::filesystem::path& path, const Keyed& table, const std::string& space,
               const std::string& type, const std::string& key)
{
    std::ostringstream out;
    out << "#pragma once\n// Generated from assets/catalog. Do not edit.\n#include \"core/catalog/ids.h\"\n"
        << "namespace skbscope::" << space << " {\n";
    for (const Row& row : table.rows) {
        out << "inline constexpr " << type << ' ' << identifier(cell(row, key)) << "{"
            << table.ids.at(cell(row, key)) << "};\n";
    }
    out << "} // namespace skbscope::" << space << "\n";
    write_if_changed(path, out.str());
}

struct Tables {
    Keyed functions, stages, rooms, reasons, drops, settings, names;
};

/// Everything that decides ids goes into it.
class Version {
public:
    void add(const std::string& text)
    {
        for (const char c : text + '\n') {
            hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 1099511628211ull;
        }
    }
    [[nodiscard]] std::string text() const
    {
        std::ostringstream out;
        out << "1." << std::hex << (hash_ & 0xffffffffull);
        return out.str();
    }

private:
    std::uint64_t hash_ = 14695981039346656037ull;
};

using Aliases = std::map<std::string, int>; ///< symbol: function

/// What the function is called in each version, whether ftrace shows it there and whether the source has it: the three lists of its row.
std::string names_by_version(const Tables& t, const Row& row, Aliases& aliases)
{
    static constexpr const char* versions[] = {"4_1", "5_10", "6_1", "6_12", "6_18"};
    const std::string& name = cell(row, "name");
    const std::string& source = cell(row, "in_source");
    std::string symbols;
    std::string traceable;
    std::string in_source;
    for (int v = 0; v < 5; ++v) {
        // No build of 4.1 was looked at: its source says that the name exists, nothing says that ftrace
        // shows it.
        const auto [symbol, can] =
            v == 0
                ? std::pair{source[0] == 'g' || source[0] == 's' ? name : std::string(), source[0] == 'g'}
                : symbol_of(cell(row, std::string("sym_") + versions[v]));
        symbols += (v ? ", " : "") + literal(symbol);
        traceable += std::string(v ? ", " : "") + (can ? "true" : "false");
        in_source +=
            std::string(v ? ", " : "") + (source[v] == '-' || source[v] == '?' ? "false" : "true");
        if (!symbol.empty()) {
            aliases.emplace(without_clone_suffix(symbol), t.functions.ids.at(name));
        }
    }
    return "{" + symbols + "}, {" + traceable + "}, {" + in_source + "}";
}

void write_functions(std::ostream& out, const Tables& t, Version& version, Aliases& aliases)
{
    out << "extern const Function functions[] = {\n{FunctionId{0}, \"none\", StageId{0}, Direction::both, 0, "
           "{}, {}, {}, \"\", \"\", \"\", \"\", \"\", 0},\n";
    std::ostringstream function_rooms;
    for (const Row& row : t.functions.rows) {
        const std::string& name = cell(row, "name");
        version.add(name);
        const std::string& source = cell(row, "in_source");
        if (source.size() != 5) {
            stop(row, "in_source has a letter for each of five versions");
        }
        const std::string& argument = cell(row, "skb_arg");
        if (argument.size() != 1 || argument[0] < '0' || argument[0] > '6') {
            stop(row, "skb_arg is 0 to 6");
        }
        const int stage = id_of(t.stages, row, cell(row, "stage"), "stage");
        if (stage == 0 || cell(row, "what").empty()) {
            stop(row, "a function needs a stage and a text");
        }
        out << "{FunctionId{" << t.functions.ids.at(name) << "}, " << literal(name) << ", StageId{" << stage
            << "}, " << direction(row) << ", " << contexts(row, cell(row, "contexts")) << ", ";
        out << names_by_version(t, row, aliases) << ", " << literal(cell(row, "other_names"))
            << ", " << literal(cell(row, "note")) << ", " << literal(cell(row, "source")) << ", "
            << literal(cell(row, "what")) << ", " << literal(cell(row, "goes_wrong")) << ", " << argument
            << "},\n";
        const Row& stage_row = t.stages.rows[static_cast<std::size_t>(stage - 1)];
        const std::string& own_room = cell(row, "room");
        function_rooms << ", RoomId{"
                       << id_of(t.rooms, row, own_room.empty() ? cell(stage_row, "room") : own_room, "room")
                       << '}';
    }
    out << "};\nextern const RoomId function_rooms[] = {RoomId{0}" << function_rooms.str() << "};\n";
}

void write_stages(std::ostream& out, const Tables& t, Version& version)
{
    out << "extern const Stage stages[] = {\n{},\n";
    for (const Row& row : t.stages.rows) {
        version.add(cell(row, "key"));
        if (cell(row, "room").empty()) {
            stop(row, "a stage needs a room");
        }
        out << "{StageId{" << t.stages.ids.at(cell(row, "key")) << "}, " << literal(cell(row, "key")) << ", "
            << literal(cell(row, "title")) << ", " << direction(row) << ", " << cell(row, "order") << ", "
            << contexts(row, cell(row, "contexts")) << ", " << literal(cell(row, "meaning")) << ", RoomId{"
            << id_of(t.rooms, row, cell(row, "room"), "room") << "}},\n";
    }
    out << "};\n";
}

void write_rooms(std::ostream& out, const Tables& t, Version& version)
{
    out << "extern const RoomData rooms[] = {\n{},\n";
    for (const Row& row : t.rooms.rows) {
        version.add(cell(row, "key"));
        const std::vector<std::string> used = list(cell(row, "settings"));
        std::string joined;
        for (const std::string& setting : used) {
            id_of(t.settings, row, setting, "setting");
            joined += (joined.empty() ? "" : "\n") + setting;
        }
        std::string escaped = literal(joined);
        for (std::size_t at = 0; (at = escaped.find('\n', at)) != std::string::npos;) {
            escaped.replace(at, 1, "\\n");
        }
        const std::string& kind = cell(row, "kind");
        if (kind != "function" && kind != "queue" && kind != "hardware") {
            stop(row, "kind is function, queue or hardware");
        }
        out << "{RoomId{" << t.rooms.ids.at(cell(row, "key")) << "}, " << literal(cell(row, "key")) << ", "
            << literal(cell(row, "title")) << ", " << literal(cell(row, "function")) << ", RoomKind::" << kind
            << ", " << cell(row, "row") << ", " << cell(row, "column") << ", " << literal(cell(row, "text"))
            << ", " << literal(cell(row, "limits")) << ", " << escaped << "},\n";
    }
    out << "};\n";
}

void write_reasons(std::ostream& out, const Tables& t, Version& version)
{
    out << "extern const DropReason drop_reasons[] = {\n{},\n";
    for (const Row& row : t.reasons.rows) {
        version.add(cell(row, "name"));
        const auto number = [&](const char* column) {
            return cell(row, column) == "-" ? "-1" : cell(row, column);
        };
        out << "{DropReasonId{" << t.reasons.ids.at(cell(row, "name")) << "}, " << literal(cell(row, "name"))
            << ", {-1, -1, " << number("v6_1") << ", " << number("v6_12") << ", " << number("v6_18") << "}, "
            << literal(cell(row, "what")) << ", " << (cell(row, "is_drop") == "1" ? "true" : "false")
            << "},\n";
    }
    out << "};\n";
}

void write_sites(std::ostream& out, const Tables& t)
{
    out << "extern const DropSite drop_sites[] = {\n";
    std::ostringstream site_functions;
    std::size_t site = 0;
    for (const Row& row : t.drops.rows) {
        const std::vector<std::string> in_functions = list(cell(row, "functions"));
        const int first = in_functions.empty() ? 0 : id_of(t.functions, row, in_functions.front(), "function");
        for (const std::string& function : in_functions) {
            site_functions << "{FunctionId{" << id_of(t.functions, row, function, "function") << "}, " << site
                           << "},\n";
        }
        out << "{" << literal(cell(row, "key")) << ", FunctionId{" << first << "}, StageId{"
            << id_of(t.stages, row, cell(row, "stage"), "stage") << "}, " << literal(cell(row, "condition"))
            << ", " << literal(cell(row, "control")) << ", " << literal(cell(row, "default")) << ", "
            << literal(cell(row, "counters")) << ", " << literal(cell(row, "source")) << ", "
            << literal(cell(row, "remedy")) << ", DropReasonId{"
            << id_of(t.reasons, row, cell(row, "reason"), "drop reason") << "}},\n";
        ++site;
    }
    out << "};\nextern const SiteFunction site_functions[] = {\n" << site_functions.str() << "};\n";
}

void write_settings(std::ostream& out, const Tables& t)
{
    out << "extern const Setting settings[] = {\n";
    for (const Row& row : t.settings.rows) {
        out << "{" << literal(cell(row, "name")) << ", " << literal(cell(row, "value")) << ", "
            << literal(cell(row, "meaning")) << ", " << literal(cell(row, "source")) << ", "
            << literal(cell(row, "notes")) << ", " << (cell(row, "changeable") == "1" ? "true" : "false")
            << "},\n";
    }
    out << "};\n";
}

void write_names(std::ostream& out, const Tables& t)
{
    static const char* const kinds[] = {"function",   "queue",   "hook",    "setting", "stage",
                                        "tracepoint", "softirq", "syscall", "callback"};
    out << "extern const NameRow names[] = {\n";
    for (const Row& row : t.names.rows) {
        bool known = false;
        for (const char* kind : kinds) {
            known = known || cell(row, "kind") == kind;
        }
        if (!known || cell(row, "text").empty()) {
            stop(row, known ? "a name needs a text" : "unknown kind '" + cell(row, "kind") + "'");
        }
        out << "{" << literal(cell(row, "name")) << ", Resolution::Kind::" << cell(row, "kind")
            << ", FunctionId{" << id_of(t.functions, row, cell(row, "function"), "function") << "}, "
            << literal(cell(row, "today")) << ", " << literal(cell(row, "text")) << "},\n";
    }
    out << "};\n";
}

/// Names that differ from the row's own (symbols of other versions).
void write_aliases(std::ostream& out, const Tables& t, const Aliases& aliases)
{
    out << "extern const Alias aliases[] = {\n";
    for (const auto& [alias, id] : aliases) {
        if (t.functions.ids.find(alias) == t.functions.ids.end()) {
            out << "{" << literal(alias) << ", FunctionId{" << id << "}},\n";
        }
    }
    out << "{\"\", FunctionId{0}},\n};\n";
}

} // namespace

int main(int argc, char** argv)
{
    if (argc != 3) {
        std::cerr << "usage: catalog_generator TABLES OUT\n";
        return 2;
    }
    const std::filesystem::path in = argv[1];
    const std::filesystem::path out_dir = argv[2];
    std::filesystem::create_directories(out_dir);
    const Tables t{.functions = read_keyed(in / "functions.tsv", "name"),
                   .stages = read_keyed(in / "stages.tsv", "key"),
                   .rooms = read_keyed(in / "rooms.tsv", "key"),
                   .reasons = read_keyed(in / "drop_reasons.tsv", "name"),
                   .drops = read_keyed(in / "drops.tsv", "key"),
                   .settings = read_keyed(in / "settings.tsv", "name"),
                   .names = read_keyed(in / "names.tsv", "name")};

    std::ostringstream out;
    Version version;
    Aliases aliases;
    out << "// Generated from assets/catalog. Do not edit.\n#include \"core/catalog/data.h\"\n"
        << "namespace skbscope::catalog_data {\n";
    write_functions(out, t, version, aliases);
    write_stages(out, t, version);
    write_rooms(out, t, version);
    write_reasons(out, t, version);
    write_sites(out, t);
    write_settings(out, t);
    write_names(out, t);
    write_aliases(out, t, aliases);
    out << "extern const Counts counts = {" << t.functions.rows.size() + 1 << ", " << t.stages.rows.size() + 1
        << ", " << t.rooms.rows.size() + 1 << ", " << t.reasons.rows.size() + 1 << ", " << t.drops.rows.size()
        << ", sizeof site_functions / sizeof site_functions[0], " << t.settings.rows.size() << ", "
        << t.names.rows.size() << ", sizeof aliases / sizeof aliases[0]};\n"
        << "extern const std::string_view version = " << literal(version.text()) << ";\n"
        << "} // namespace skbscope::catalog_data\n";

    write_if_changed(out_dir / "catalog_data.cpp", out.str());
    write_ids(out_dir / "function_ids.h", t.functions, "fn", "FunctionId", "name");
    write_ids(out_dir / "stage_ids.h", t.stages, "stage", "StageId", "key");
    write_ids(out_dir / "room_ids.h", t.rooms, "room", "RoomId", "key");
    write_ids(out_dir / "drop_ids.h", t.reasons, "drop", "DropReasonId", "name");
    return 0;
}
