// --help, the man page and the program agree: what is named exists, and what exists is named.

#include "tests/e2e/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace skbscope::e2e {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

using Words = std::vector<std::string>;

/// Every "-x" and "--long" of the text.
std::set<std::string> options_in(const std::string& text)
{
    static const std::regex option(R"((^|[\s,\[(|])(--?[a-z][a-z-]*))");
    std::set<std::string> names;
    for (std::sregex_iterator it(text.begin(), text.end(), option), end; it != end; ++it) {
        names.insert((*it)[2]);
    }
    return names;
}

/// The lines of a help text below "Title:", up to the next empty line.
std::string section(const std::string& help, const std::string& title)
{
    const auto begin = help.find("\n" + title + ":\n");
    if (begin == std::string::npos) {
        return {};
    }
    const auto body = begin + title.size() + 3;
    return help.substr(body, help.find("\n\n", body) - body) + "\n";
}

Words commands_in(const std::string& help)
{
    static const std::regex line(R"(\n  ([a-z]+)\s)");
    const auto body = "\n" + section(help, "Subcommands");
    Words names;
    for (std::sregex_iterator it(body.begin(), body.end(), line), end; it != end; ++it) {
        names.push_back((*it)[1]);
    }
    return names;
}

std::string help_of(Words command)
{
    command.emplace_back("--help");
    const auto outcome = skbscope(command);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return outcome.out;
}

/// All commands, each as its words; the program itself is the one without words.
std::vector<Words> all_commands(const Words& below = {})
{
    std::vector<Words> found{below};
    for (const auto& name : commands_in(help_of(below))) {
        auto command = below;
        command.push_back(name);
        const auto inner = all_commands(command);
        found.insert(found.end(), inner.begin(), inner.end());
    }
    return found;
}

std::string joined(const Words& words)
{
    std::string text;
    for (const auto& word : words) {
        text += (text.empty() ? "" : " ") + word;
    }
    return text;
}

/// The man page's synopsis: for each command ("lesson play"; "" is the program) its options.
std::map<std::string, std::set<std::string>> synopsis()
{
    auto page = read_file(source_file("docs/man/skbscope.1"));
    page = std::regex_replace(page, std::regex(R"(\\f[BIR])"), "");
    page = std::regex_replace(page, std::regex(R"(\\-)"), "-");
    const auto begin = page.find(".SH SYNOPSIS");
    std::istringstream lines(page.substr(begin, page.find(".SH DESCRIPTION") - begin));
    std::map<std::string, std::set<std::string>> commands;
    std::string command;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(".B skbscope")) {
            command = line.size() > 12 ? line.substr(12) : "";
            commands[command];
        } else {
            commands[command].merge(options_in(line));
        }
    }
    return commands;
}

/// Both names of an option that has a short and a long one count as one: the synopsis shows the shorter.
std::set<std::string> with_one_name_each(const std::string& options_help)
{
    static const std::map<std::string, std::string> shorter{
        {"--write", "-w"}, {"--device", "-i"}, {"--duration", "-d"}, {"--count", "-c"}, {"--filter", "-f"}};
    std::set<std::string> names;
    std::istringstream lines(options_help);
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("  -")) {
            continue; // a description that goes on
        }
        for (const auto& name : options_in(line.substr(0, 30))) {
            if (name != "-h" && name != "--help" && name != "--version") {
                names.insert(shorter.contains(name) ? shorter.at(name) : name);
            }
        }
    }
    return names;
}

TEST(Help, NamesEveryCommandThatExistsAndNoOther)
{
    EXPECT_THAT(commands_in(help_of({})),
                testing::UnorderedElementsAre("run", "replay", "import", "lab", "report", "journey", "filter",
                                              "compare", "fidelity", "lesson", "catalog", "doctor",
                                              "record"));
    EXPECT_THAT(commands_in(help_of({"lesson"})),
                testing::UnorderedElementsAre("list", "show", "play", "check"));
}

TEST(Help, OfEachCommandHasExamplesThatNameIt)
{
    for (const auto& command : all_commands()) {
        const auto help = help_of(command);
        EXPECT_THAT(help, HasSubstr("Examples:\n  skbscope " + joined(command))) << help;
    }
}

TEST(ManPage, HasTheCommandsAndOptionsThatHelpHas)
{
    const auto page = synopsis();
    std::set<std::string> named;
    for (const auto& command : all_commands()) {
        if (command == Words{"lesson"}) {
            continue; // its subcommands stand in the page
        }
        const auto name = joined(command);
        named.insert(name);
        ASSERT_TRUE(page.contains(name)) << "no synopsis of " << name;
        EXPECT_EQ(page.at(name), with_one_name_each(section(help_of(command), "Options"))) << name;
    }
    for (const auto& entry : page) {
        EXPECT_TRUE(named.contains(entry.first) || entry.first.empty()) << entry.first << " does not exist";
    }
}

TEST(ManPage, DescribesEveryOption)
{
    const auto page =
        std::regex_replace(read_file(source_file("docs/man/skbscope.1")), std::regex(R"(\\-)"), "-");
    const auto described = options_in(page.substr(page.find(".SH OPTIONS")));
    for (const auto& [command, options] : synopsis()) {
        for (const auto& option : options) {
            EXPECT_TRUE(described.contains(option)) << option << " of " << command;
        }
    }
}

TEST(ManPage, BearsTheVersionOfTheProgram)
{
    const auto version = skbscope({"--version"}).out;
    ASSERT_THAT(version, StartsWith("skbscope "));
    EXPECT_THAT(read_file(source_file("docs/man/skbscope.1")),
                HasSubstr("\"" + version.substr(0, version.size() - 1) + "\""));
}

class WrongCommandLine : public testing::TestWithParam<Words> {};

TEST_P(WrongCommandLine, IsOneLineWithStatusTwo)
{
    const auto outcome = skbscope(GetParam());
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("skbscope: "));
    EXPECT_THAT(outcome.err, HasSubstr("--help"));
}

// What later versions will have is no command yet, and is not offered either.
INSTANTIATE_TEST_SUITE_P(CommandsThatDoNotExist, WrongCommandLine,
                         testing::Values(Words{"record"}, Words{"lab"}, Words{"compare"}, Words{"export"},
                                         Words{"fidelity"}, Words{"doctor", "now"}, Words{"lesson", "new"},
                                         Words{"fly", "away"}));
INSTANTIATE_TEST_SUITE_P(Options, WrongCommandLine,
                         testing::Values(Words{"--no-such-option"}, Words{"report"},
                                         Words{"report", "--format", "xml", "f"},
                                         Words{"run", "a.yaml", "--branch", "k=v"}, Words{"lesson"},
                                         Words{"import", "trace.dat"}, Words{"filter", "run.pcapng"}));

} // namespace
} // namespace skbscope::e2e
