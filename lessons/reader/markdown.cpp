// Markdown as plain text: paragraphs, lists, headings, tables, code blocks, emphasis, links. What it does not know it
// shows as it stands.

#include "lessons/reader/text_player.h"
#include "lessons/reader/words.h"

#include <algorithm>
#include <string>
#include <vector>

namespace skbscope {

using lesson_words::trimmed;
using lesson_words::words;

namespace {

/// Columns that a word takes: code points, escape sequences not counted.
std::size_t width_of(std::string_view word)
{
    std::size_t width = 0;
    bool escape = false;
    for (const char c : word) {
        if (c == '\x1b') {
            escape = true;
        } else if (escape) {
            escape = c != 'm';
        } else if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) {
            ++width;
        }
    }
    return width;
}

/// Whether the '*' at `at` begins a word and has its other half. The one in net.ipv4.conf.*.rp_filter does not.
bool opens_emphasis(std::string_view text, std::size_t at)
{
    const bool begins = at == 0 || std::string_view(" (\"").find(text[at - 1]) != std::string_view::npos;
    return begins && at + 2 < text.size() && text[at + 1] != ' ' &&
           text.find('*', at + 2) != std::string_view::npos;
}

/// Emphasis and code marks taken off, links reduced to their text.
std::string inline_text(std::string_view text, bool colours)
{
    std::string out;
    bool code = false;
    bool bold = false;
    bool emphasis = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '`') {
            code = !code;
            out += colours ? (code ? "\x1b[36m" : "\x1b[0m") : "";
        } else if (!code && text.substr(i, 2) == "**") {
            bold = !bold;
            out += colours ? (bold ? "\x1b[1m" : "\x1b[0m") : "";
            ++i;
        } else if (!code && text[i] == '*' && (emphasis || opens_emphasis(text, i))) {
            emphasis = !emphasis;
        } else if (!code && text[i] == '[') {
            const std::size_t close = text.find("](", i);
            const std::size_t end = close == std::string_view::npos ? close : text.find(')', close);
            if (end == std::string_view::npos) {
                out += text[i];
            } else {
                out += text.substr(i + 1, close - i - 1);
                i = end;
            }
        } else {
            out += text[i];
        }
    }
    return out + (colours && (code || bold) ? "\x1b[0m" : "");
}

/// The cells of a table's line, without the bars around and between them.
std::vector<std::string> cells_of(std::string_view line, bool colours)
{
    line = trimmed(line);
    line.remove_prefix(1);
    if (line.ends_with('|')) {
        line.remove_suffix(1);
    }
    std::vector<std::string> cells;
    for (std::size_t from = 0; from <= line.size();) {
        const std::size_t bar = std::min(line.find('|', from), line.size());
        cells.push_back(inline_text(trimmed(line.substr(from, bar - from)), colours));
        from = bar + 1;
    }
    return cells;
}

/// "|---|:--|": what stands between a table's head and its rows.
bool is_rule(std::string_view line)
{
    return line.find('-') != std::string_view::npos &&
           line.find_first_not_of("|-: ") == std::string_view::npos;
}

void wrap(std::string& out, const std::string& text, std::string_view first, std::string_view rest,
          unsigned columns)
{
    std::string line(first);
    bool empty = true;
    for (const std::string_view word : words(text)) {
        if (!empty && width_of(line) + 1 + width_of(word) > columns) {
            out += line + '\n';
            line = std::string(rest);
            empty = true;
        }
        line += (empty ? "" : " ") + std::string(word);
        empty = false;
    }
    if (!empty) {
        out += line + '\n';
    }
}

/// The mark of a list item ("- ", "1. "), or nothing.
std::string_view item_mark(std::string_view line)
{
    if (line.starts_with("- ") || line.starts_with("* ")) {
        return line.substr(0, 2);
    }
    const std::size_t digits = line.find_first_not_of("0123456789");
    return digits != std::string_view::npos && digits > 0 && digits < 4 && line.substr(digits, 2) == ". "
               ? line.substr(0, digits + 2)
               : std::string_view();
}

class Renderer {
public:
    Renderer(unsigned columns, bool colours) : columns_(std::max(columns, 20U)), colours_(colours) {}

    std::string render(std::string_view markdown)
    {
        while (!markdown.empty()) {
            const std::size_t end = std::min(markdown.find('\n'), markdown.size());
            take(markdown.substr(0, end));
            markdown.remove_prefix(std::min(end + 1, markdown.size()));
        }
        flush();
        while (out_.ends_with("\n\n")) {
            out_.pop_back();
        }
        return std::move(out_);
    }

private:
    void take(std::string_view line)
    {
        if (line.starts_with("```")) {
            flush();
            fenced_ = !fenced_;
            return;
        }
        if (!fenced_ && line.starts_with("|")) {
            flush_paragraph();
            table_.emplace_back(line);
            return;
        }
        if (fenced_) {
            flush();
            out_ += "    " + std::string(line) + '\n';
            return;
        }
        flush_table();
        const std::string_view text = trimmed(line);
        if (text.empty()) {
            flush();
            if (!out_.empty() && !out_.ends_with("\n\n")) {
                out_ += '\n';
            }
            return;
        }
        if (text.starts_with("#")) {
            flush();
            paragraph_ =
                std::string(trimmed(text.substr(std::min(text.find_first_not_of('#'), text.size()))));
            flush();
            return;
        }
        if (const std::string_view mark = item_mark(text); !mark.empty()) {
            flush();
            first_ = "  " + std::string(mark);
            rest_ = std::string(first_.size(), ' ');
            paragraph_ = std::string(text.substr(mark.size()));
            return;
        }
        if (text.starts_with("> ") && paragraph_.empty()) {
            first_ = rest_ = "  | ";
        }
        paragraph_ +=
            (paragraph_.empty() ? "" : " ") + std::string(text.starts_with("> ") ? text.substr(2) : text);
    }

    void flush()
    {
        flush_paragraph();
        flush_table();
    }

    void flush_table()
    {
        std::vector<std::vector<std::string>> rows;
        std::vector<std::size_t> widths;
        for (const std::string& line : table_) {
            if (is_rule(line)) {
                continue;
            }
            rows.push_back(cells_of(line, colours_));
            widths.resize(std::max(widths.size(), rows.back().size()));
            for (std::size_t i = 0; i < rows.back().size(); ++i) {
                widths[i] = std::max(widths[i], width_of(rows.back()[i]));
            }
        }
        for (const std::vector<std::string>& row : rows) {
            std::string line = "   ";
            for (std::size_t i = 0; i < row.size(); ++i) {
                line += ' ' + row[i] + std::string(widths[i] - width_of(row[i]) + 1, ' ');
            }
            out_ += line.erase(line.find_last_not_of(' ') + 1) + '\n';
        }
        table_.clear();
    }

    void flush_paragraph()
    {
        wrap(out_, inline_text(paragraph_, colours_), first_, rest_, columns_);
        paragraph_.clear();
        first_.clear();
        rest_.clear();
    }

    unsigned columns_;
    bool colours_;
    bool fenced_ = false;
    std::string out_;
    std::vector<std::string> table_;
    std::string paragraph_;
    std::string first_;
    std::string rest_;
};

} // namespace

std::string render_markdown(std::string_view markdown, unsigned columns, bool colours)
{
    return Renderer(columns, colours).render(markdown);
}

} // namespace skbscope
