// The command `lab` alone, without the window: for trying it out while it is worked on.

#include "app/command.h"

#include <fmt/format.h>

int main(int argc, char** argv)
{
    CLI::App program{"run_lab", "run_lab"};
    skbscope::app::Invocation chosen;
    skbscope::app::add_lab_command(program, chosen);
    skbscope::app::add_compare_command(program, chosen);
    skbscope::app::add_run_command(program, chosen);
    skbscope::app::add_report_command(program, chosen);
    skbscope::app::add_journey_command(program, chosen);
    program.require_subcommand(1);
    CLI11_PARSE(program, argc, argv);
    const auto status = chosen.action();
    if (!status) {
        fmt::print(stderr, "skbscope: {}\n", status.error().describe());
        return skbscope::exit_status(status.error().kind);
    }
    return *status;
}
