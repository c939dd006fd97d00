// Bad input ends in one line that says where, what and the remedy, with exit status 3, and leaves nothing
// half written.

#include "tests/e2e/lessons.h"
#include "tests/e2e/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope::e2e {
namespace {

using testing::AnyOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::StartsWith;

using Words = std::vector<std::string>;

/// A folder with bad files; what a command writes beside them would be seen.
class BadInput : public testing::Test {
protected:
    BadInput()
    {
        write_file(out / "empty.pcapng", "");
        write_file(out / "empty.yaml", "");
        write_file(out / "foreign.bin", std::string("\x7f"
                                                    "ELF\0\1\2\3 and so on",
                                                    18));
        write_file(out / "prose.txt", "It was a dark and stormy night.\n");
        write_file(out / "cut.pcap", "\xd4\xc3\xb2\xa1\x02");
        write_file(out / "cut.pcapng", std::string("\x0a\x0d\x0d\x0a\x40\0\0\0\x4d\x3c", 10));
        write_file(out / "cut.dat", "\x17\x08\x44tracing6");
        write_file(out / "cut-magic.dat", "\x17\x08\x44tra");
        std::filesystem::create_directory(out / "folder");
        before = out.names();
    }

    void expect_refused(const Words& command, const std::string& about)
    {
        std::string line;
        for (const auto& word : command) {
            line += " " + word;
        }
        SCOPED_TRACE(line);
        const auto outcome = skbscope(command, {.seconds = 60});
        EXPECT_EQ(outcome.status, 3) << outcome.err;
        EXPECT_EQ(outcome.out, "");
        EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
        EXPECT_THAT(outcome.err, StartsWith("skbscope: "));
        EXPECT_THAT(outcome.err, HasSubstr(about));
        EXPECT_EQ(out.names(), before) << "something was written";
    }

    TemporaryFolder out;
    Words before;
};

TEST_F(BadInput, OfAnyKindIsRefusedByEveryCommandThatOpensAFile)
{
    for (const auto* name : {"missing.pcapng", "empty.pcapng", "foreign.bin", "prose.txt", "cut.pcap",
                             "cut.pcapng", "cut.dat", "cut-magic.dat", "empty.yaml", "folder"}) {
        const auto file = out / name;
        expect_refused({"report", file}, name);
        expect_refused({"journey", file}, name);
        expect_refused({"filter", file, "-f", "udp", "-w", out / "written.pcapng"}, name);
        expect_refused({"--shot", out / "written.png", file}, name);
        expect_refused({"run", file, "-w", out / "written.pcapng"}, name);
        expect_refused({"replay", file, "-w", out / "written.pcapng"}, name);
        expect_refused({"import", file, "-w", out / "written.pcapng"}, name);
        expect_refused({"lesson", "play", file}, name);
    }
}

TEST_F(BadInput, AFileOfAnotherKindIsRefusedByTheCommandThatNeedsOne)
{
    const auto scenario = scenario_of("01");
    const auto folders = recorded_folders(source_file("tests/data"), "udp-rx-e1000");
    ASSERT_FALSE(folders.empty());
    expect_refused({"run", folders[0].capture()}, "eth0.pcap");
    expect_refused({"run", folders[0].trace()}, "trace.dat");
    expect_refused({"replay", folders[0].trace()}, "trace.dat");
    expect_refused({"replay", scenario}, "scenario.yaml");
    expect_refused({"import", scenario, "-w", out / "written.pcapng"}, "scenario.yaml");
    expect_refused({"import", folders[0].capture(), "-w", out / "written.pcapng"}, "eth0.pcap");
}

TEST_F(BadInput, AnUnknownLessonIsNamed)
{
    expect_refused({"lesson", "show", "99"}, "99");
    expect_refused({"lesson", "play", "no-such-lesson"}, "no-such-lesson");
    expect_refused({"lesson", "check", "no/such/lesson"}, "no/such/lesson");
}

TEST_F(BadInput, AnUnknownPacketIsNamedWithThoseThatAreThere)
{
    ASSERT_EQ(skbscope({"run", scenario_of("01"), "-w", out / "run.pcapng"}).status, 0);
    before = out.names();
    expect_refused({"journey", out / "run.pcapng", "--packet", "4000000000"}, "packets 1 to ");
}

TEST_F(BadInput, AFilterThatDoesNotParseIsRefused)
{
    ASSERT_EQ(skbscope({"run", scenario_of("01"), "-w", out / "run.pcapng"}).status, 0);
    before = out.names();
    for (const auto* filter :
         {"udp prt 53", "reason NO_SUCH_REASON", "function no_such_function", "latency > soon", "and"}) {
        expect_refused({"report", out / "run.pcapng", "-f", filter}, "");
        expect_refused({"filter", out / "run.pcapng", "-f", filter, "-w", out / "part.pcapng"}, "");
    }
}

TEST_F(BadInput, AScenarioWithAnUnknownKeyIsRefusedWithItsPlace)
{
    write_file(out / "scenario.yaml", read_file(scenario_of("01")) + "\nno_such_key: 1\n");
    before = out.names();
    const auto outcome = skbscope({"run", out / "scenario.yaml"});
    EXPECT_THAT(outcome.err, ContainsRegex("scenario.yaml:[0-9]+:[0-9]+: .*no_such_key"));
    expect_refused({"run", out / "scenario.yaml", "-w", out / "written.pcapng"}, "no_such_key");
}

TEST_F(BadInput, AnOutputThatCannotBeWrittenIsSaid)
{
    expect_refused({"run", scenario_of("01"), "-w", out / "no/such/folder/run.pcapng"}, "no/such/folder");
    expect_refused({"--shot", out / "no/such/folder/lesson.png", lesson_folder("01").string()},
                   "no/such/folder");
}

TEST_F(BadInput, WhatIsReadIsNeverWrittenOver)
{
    const auto folders = recorded_folders(source_file("tests/data"), "udp-rx-e1000");
    ASSERT_FALSE(folders.empty());
    const auto expect_kept = [&](const std::string& name, Words command) {
        SCOPED_TRACE(command[0]);
        const auto whole = read_file(out / name);
        command.insert(command.end(), {"-w", out / name});
        const auto outcome = skbscope(command);
        EXPECT_EQ(outcome.status, 2) << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr("is a file that is read"));
        EXPECT_TRUE(read_file(out / name) == whole);
    };
    write_file(out / "trace.dat", read_file(folders[0].trace()));
    write_file(out / "eth0.pcap", read_file(folders[0].capture()));
    write_file(out / "scenario.yaml", read_file(scenario_of("01")));
    ASSERT_EQ(skbscope({"run", out / "scenario.yaml", "-w", out / "run.pcapng"}).status, 0);
    std::filesystem::create_symlink("run.pcapng", out / "link.pcapng");
    expect_kept("trace.dat", {"import", out / "trace.dat"});
    expect_kept("eth0.pcap", {"import", out / "trace.dat", "--pcap", "eth0=" + (out / "eth0.pcap")});
    expect_kept("eth0.pcap", {"replay", out / "eth0.pcap"});
    expect_kept("scenario.yaml", {"replay", out / "eth0.pcap", "--scenario", out / "scenario.yaml"});
    expect_kept("scenario.yaml", {"run", out / "scenario.yaml"});
    expect_kept("scenario.yaml", {"lab", out / "scenario.yaml"});
    expect_kept("run.pcapng", {"filter", out / "link.pcapng"});
}

TEST_F(BadInput, OnTheCommandLineIsUsage)
{
    const auto scenario = scenario_of("01");
    ASSERT_EQ(skbscope({"run", scenario, "-w", out / "run.pcapng"}).status, 0);
    const auto expect_usage = [](const Words& command, const std::string& about) {
        const auto outcome = skbscope(command);
        EXPECT_EQ(outcome.status, 2) << command[0] << ": " << outcome.err;
        EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
        EXPECT_LT(outcome.err.size(), 500U) << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr(about));
    };
    expect_usage({"report", ""}, "an argument is empty");
    expect_usage({"run", scenario, "-w", ""}, "an argument is empty");
    expect_usage({"run", scenario, "--until="}, "an argument is empty");
    EXPECT_EQ(skbscope({"report", out / "run.pcapng", "-f", ""}).status, 0) << "a filter that takes all";
    expect_usage({"--scale", "nan", "--shot", out / "x.png"}, "not a number");
    expect_usage({"record", "--sample", "nan", "-w", out / "x"}, "not a number");
    expect_usage({"record", "-c", "0", "-w", out / "x"}, "from 1 on");
    expect_usage({"report", out / "run.pcapng", "--host", "server"}, "--proc");
    expect_usage({"lab", scenario, "--kernel", "6.1"}, "--compare");
    expect_usage({"run", scenario, "--at", "5s", "--branch", "net.core.netdev_max_backlog=1"},
                 "the run ends before");
    expect_usage({"replay", out / "run.pcapng", "--as", "255.255.255.255"},
                 "is not the IPv4 address of a host");
}

TEST_F(BadInput, IsNotQuotedByTheMegabyte)
{
    const std::string word(100'000, 'x');
    const auto outcome = skbscope({"catalog", word});
    EXPECT_EQ(outcome.status, 3);
    EXPECT_LT(outcome.err.size(), 1000U);
    write_file(out / "scenario.yaml", "skbscope: 1\ntitle: a\nkernel: " + word + "\nhosts: [{name: a}]\n");
    EXPECT_LT(skbscope({"run", out / "scenario.yaml"}).err.size(), 1000U);
}

TEST_F(BadInput, ARunThatIsStoppedLeavesNothingHalfWritten)
{
    write_file(out / "long.yaml", read_file(scenario_of("01")));
    before = out.names();
    for (const std::string signal : {"INT", "TERM"}) {
        // Millions of datagrams: hours of work. The signal finds the program at its start or while it writes.
        const auto outcome =
            run_program({"timeout", "--preserve-status", "-s", signal, "1", SKBSCOPE_PROGRAM, "run",
                         out / "long.yaml", "--set", "count=10000000", "-w", out / "long.pcapng"});
        EXPECT_EQ(outcome.status, signal == "INT" ? 130 : 143) << outcome.err;
        EXPECT_EQ(out.names(), before);
    }
}

TEST_F(BadInput, ADisplayThatCannotBeReachedIsSaidInOneLine)
{
    const auto outcome =
        skbscope({}, {.environment = {"DISPLAY=:4077", "QT_QPA_PLATFORM", "WAYLAND_DISPLAY"}, .seconds = 60});
    EXPECT_EQ(outcome.status, 4) << outcome.err;
    EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("--shot"));
}

TEST_F(BadInput, ACutRecordingOpensWithWhatIsWholeAndSaysWhatWasLost)
{
    ASSERT_EQ(skbscope({"run", scenario_of("01"), "-w", out / "whole.pcapng"}).status, 0);
    const auto whole = read_file(out / "whole.pcapng");
    const auto events_of_whole =
        skbscope({"report", out / "whole.pcapng", "--format", "json"}).json()["events"];
    int opened = 0;
    for (const auto part : {30U, 60U, 90U, 99U}) {
        SCOPED_TRACE(part);
        write_file(out / "cut.pcapng", whole.substr(0, whole.size() * part / 100));
        const auto outcome = skbscope({"report", out / "cut.pcapng", "--format", "json"});
        EXPECT_THAT(outcome.status, AnyOf(0, 3));
        EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr("cut"));
        if (outcome.status == 0) {
            ++opened;
            EXPECT_LE(outcome.json()["events"], events_of_whole);
        }
    }
    EXPECT_GE(opened, 2);
}

TEST_F(BadInput, ACutTraceDatOpensWithWhatIsWholeAndSaysWhatWasLost)
{
    const auto folders = recorded_folders(source_file("tests/data"), "udp-rx-e1000");
    ASSERT_FALSE(folders.empty());
    const auto whole = read_file(folders[0].trace());
    for (const auto part : {50U, 80U, 97U}) {
        SCOPED_TRACE(part);
        write_file(out / "cut.dat", whole.substr(0, whole.size() * part / 100));
        const auto outcome = skbscope({"report", out / "cut.dat", "--format", "json"});
        EXPECT_THAT(outcome.status, AnyOf(0, 3)) << outcome.err;
        EXPECT_GE(outcome.lines_on_stderr(), 1);
        EXPECT_THAT(outcome.err, HasSubstr("cut"));
    }
}

} // namespace
} // namespace skbscope::e2e
