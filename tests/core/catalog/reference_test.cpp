// The catalog against the reference tables it was made from: nothing may be missing, nothing may have
// drifted. Runs where SKBSCOPE_REFERENCE names their folder.

#include "core/catalog/catalog.h"

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <map>

namespace skbscope {
namespace {

using Rows = std::vector<std::map<std::string, std::string>>;

std::vector<std::string> cells_of(const std::string& line)
{
    std::vector<std::string> cells(1);
    for (const char c : line) {
        if (c == '\t') {
            cells.emplace_back();
        } else {
            cells.back() += c;
        }
    }
    return cells;
}

Rows read(const std::string& path)
{
    std::ifstream in(path);
    EXPECT_TRUE(in) << path;
    std::string line;
    std::getline(in, line);
    const std::vector<std::string> columns = cells_of(line);
    Rows rows;
    while (std::getline(in, line)) {
        const std::vector<std::string> cells = cells_of(line);
        std::map<std::string, std::string> row;
        for (std::size_t i = 0; i < columns.size() && i < cells.size(); ++i) {
            row[columns[i]] = cells[i];
        }
        rows.push_back(std::move(row));
    }
    EXPECT_FALSE(rows.empty()) << path;
    return rows;
}

std::string folder()
{
    const char* value = std::getenv("SKBSCOPE_REFERENCE");
    return value == nullptr ? "" : std::string(value) + "/";
}

std::string first_symbol(const std::string& cell)
{
    return cell == "-" ? "" : cell.substr(0, cell.find_first_of(" ,("));
}

#define NEEDS_REFERENCE()                                                                                    \
    if (folder().empty()) {                                                                                  \
        GTEST_SKIP() << "SKBSCOPE_REFERENCE does not name the folder of the reference tables";               \
    }

TEST(CatalogReference, HasEveryFunctionWithItsStageSymbolsAndArgument)
{
    NEEDS_REFERENCE()
    for (auto& row : read(folder() + "functions.tsv")) {
        const Function& f = Catalog::function(Catalog::find_function(row["function"]));
        ASSERT_EQ(f.name, row["function"]);
        EXPECT_EQ(Catalog::stage(f.stage).key, row["stage"]) << f.name;
        EXPECT_EQ(to_string(f.direction), row["direction"]) << f.name;
        static const char* const columns[] = {"", "sym_5_10", "sym_6_1", "sym_6_12", "sym_6_18"};
        for (int v = 1; v < 5; ++v) {
            EXPECT_EQ(f.symbol[v], first_symbol(row[columns[v]])) << f.name << ' ' << columns[v];
            EXPECT_EQ(f.traceable[v],
                      !f.symbol[v].empty() && row[columns[v]].find("(notrace)") == std::string::npos)
                << f.name;
        }
        static const char* const sources[] = {"src_4_1", "src_5_10", "src_6_1", "src_6_12"};
        for (int v = 0; v < 4; ++v) {
            EXPECT_EQ(f.in_source[v], row[sources[v]] != "-") << f.name << ' ' << sources[v];
        }
        const int argument = std::stoi(row["skb_arg_6_1"]);
        EXPECT_EQ(f.skb_argument, argument > 6 ? 0 : argument) << f.name;
        EXPECT_EQ(f.what, row["what"]) << f.name;
        EXPECT_EQ(f.source, row["verified_6_1"]) << f.name;
    }
}

TEST(CatalogReference, HasEveryStage)
{
    NEEDS_REFERENCE()
    for (auto& row : read(folder() + "stages.tsv")) {
        const Stage& s = Catalog::stage(Catalog::find_stage(row["stage"]));
        ASSERT_EQ(s.key, row["stage"]);
        EXPECT_EQ(s.title, row["title"]);
        EXPECT_EQ(s.order, std::stoi(row["order"]));
        EXPECT_EQ(to_string(s.direction), row["direction"]);
    }
}

TEST(CatalogReference, HasEveryDropReasonWithItsNumbers)
{
    NEEDS_REFERENCE()
    static const char* const columns[] = {"", "", "value_6_1_192", "value_6_12_117", "value_6_18_44"};
    for (auto& row : read(folder() + "drop_reasons.tsv")) {
        const DropReason& r = Catalog::drop_reason(Catalog::find_drop_reason(row["reason"]));
        ASSERT_EQ(r.name, row["reason"]);
        for (int v = 2; v < 5; ++v) {
            EXPECT_EQ(r.value[v], row[columns[v]] == "-" ? -1 : std::stoi(row[columns[v]])) << r.name;
        }
    }
}

TEST(CatalogReference, HasEveryDropSite)
{
    NEEDS_REFERENCE()
    for (auto& row : read(folder() + "drops.tsv")) {
        const DropSite* site = nullptr;
        for (const DropSite& any : Catalog::drop_sites()) {
            if (any.key == row["id"]) {
                site = &any;
            }
        }
        ASSERT_NE(site, nullptr) << row["id"];
        EXPECT_EQ(site->condition, row["condition"]);
        EXPECT_EQ(Catalog::stage(site->stage).key, row["stage"]) << site->key;
        EXPECT_EQ(site->source, row["source_6_1"]) << site->key;
    }
}

} // namespace
} // namespace skbscope
