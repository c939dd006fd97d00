// Tools and what they say.

#include "capture/lab/tool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope::lab {
namespace {

using testing::HasSubstr;

TEST(Tool, WhatItReadsAndPrintsGoesThroughWithoutAShell)
{
    const auto said = run_tool({{"cat", "-"}, "$(reboot); *\n", "an echo"});
    ASSERT_TRUE(said) << said.error().describe();
    EXPECT_EQ(*said, "$(reboot); *\n");
}

TEST(Tool, MoreInputThanAPipeHoldsIsNoDeadlock)
{
    const std::string much(1 << 20, 'x');
    const auto said = run_tool({{"cat"}, much, "an echo"});
    ASSERT_TRUE(said) << said.error().describe();
    EXPECT_EQ(said->size(), much.size());
}

TEST(Tool, OneThatIsNotInstalledIsNamed)
{
    const auto said = run_tool({{"no-such-tool"}, "", "a piece"});
    ASSERT_FALSE(said);
    EXPECT_EQ(said.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(said.error().describe(), HasSubstr("no-such-tool"));
    EXPECT_THAT(said.error().describe(), HasSubstr("a piece"));
}

TEST(Tool, AFailureNamesThePurposeAndTheCommand)
{
    const auto said = run_tool({{"ls", "/no/such/place"}, "", "a piece"});
    ASSERT_FALSE(said);
    EXPECT_THAT(said.error().describe(), HasSubstr("ls /no/such/place"));
    EXPECT_EQ(said.error().describe().find('\n'), std::string::npos);
}

TEST(Tool, RefusalsOfTheKernelAreToldApart)
{
    EXPECT_EQ(kind_of_refusal("RTNETLINK answers: Operation not permitted\n"), ErrorKind::not_permitted);
    EXPECT_EQ(kind_of_refusal("Error: Unknown device type.\n"), ErrorKind::unsupported);
    EXPECT_EQ(kind_of_refusal("Error: Specified qdisc kind is unknown.\n"), ErrorKind::unsupported);
    EXPECT_EQ(kind_of_refusal("RTNETLINK answers: File exists\n"), ErrorKind::invalid);
}

} // namespace
} // namespace skbscope::lab
