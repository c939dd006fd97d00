// Holds the model against recorded folders and prints the table, and on demand the scenario that was rebuilt and the two
// journeys of a packet side by side: for working on the model without the program. Not a test.

#include "capture/fidelity/fidelity.h"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <map>
#include <set>
#include <sstream>
#include <string_view>

using namespace skbscope;

namespace {

constexpr const char* usage = "usage: show_fidelity [options] DIR…\n"
                              "  --scenario     the rebuilt scenario as text\n"
                              "  --sum          functions that stand on one side only, with the number of packets\n"
                              "  --pairs        one line a test packet: ids, verdicts, first difference\n"
                              "  --diff [N]     both journeys of the N-th differing packet of each phase (default 1)\n"
                              "  --packet N     both journeys of the N-th test packet of each phase, also if they agree\n"
                              "  --phase NAME   only that phase\n"
                              "  --counters     counters that moved differently\n"
                              "  --notes        settings that could not be taken over\n";

struct Wishes {
    bool sum = false, scenario = false, pairs = false, counters = false, notes = false;
    int diff = 0, packet = 0;
    std::string phase;
    std::vector<std::string> folders;
};

/// Which functions stand on one side only, and in how many packets.
void show_sum(const FidelityRun& run, std::size_t phase, const Comparison& comparison)
{
    std::map<std::string, int> lines;
    for (const PacketComparison& packet : comparison.packets) {
        std::istringstream text(packet.same_functions ? std::string() : run.side_by_side(packet.pair));
        std::set<std::string> once;
        std::string context;
        for (std::string line; std::getline(text, line);) {
            if (line.starts_with("  ── ")) {
                context = line.substr(9, line.find(' ', 9) - 9);
            } else if (line.starts_with("  < ") || line.starts_with("  > ")) {
                const std::size_t name = line.find_first_not_of(' ', 4);
                once.insert(fmt::format("{} {} {}", context, line.substr(2, 1), line.substr(name, line.find(' ', name) - name)));
            }
        }
        for (const std::string& line : once) {
            ++lines[line];
        }
    }
    fmt::print("--- {} {}\n", run.manifest().folder.filename().string(), run.manifest().phases[phase].name);
    for (const auto& [line, packets] : lines) {
        fmt::print("    {:>4} {}\n", packets, line);
    }
}

void show_differing(const FidelityRow& row, const Wishes& wishes)
{
    std::map<std::string, int> texts;
    int number = 0;
    for (const FidelityRow::Differing& one : row.differing) {
        ++texts[one.text];
        ++number;
        if (wishes.pairs) {
            fmt::print("  {:>4}  model #{} | recorded #{}  {}\n", number, to_index(one.pair.a), to_index(one.pair.b), one.text);
        }
        if ((number == wishes.diff && wishes.diff > 0) || texts[one.text] == 1) {
            fmt::print("\n--- difference {}: model #{} | recorded #{}  {}\n", number, to_index(one.pair.a), to_index(one.pair.b), one.text);
            for (std::size_t i = 0; i < std::max(one.model.size(), one.recorded.size()); ++i) {
                fmt::print("    {:40} {}\n", i < one.model.size() ? one.model[i] : "", i < one.recorded.size() ? one.recorded[i] : "");
            }
        }
    }
    for (const auto& [text, count] : texts) {
        fmt::print("  {:>4} x {}\n", count, text);
    }
}

void show_phase(const FidelityRun& run, std::size_t phase, const Wishes& wishes)
{
    const Comparison comparison = run.compare_phase(phase);
    int differing = 0;
    int number = 0;
    for (const PacketComparison& packet : comparison.packets) {
        ++number;
        if (wishes.pairs) {
            const PacketRecord& a = run.model().packet(packet.pair.a);
            const PacketRecord& b = run.recorded().packet(packet.pair.b);
            fmt::print("  {:>4}  model #{} {} | recorded #{} {}  {}{}\n", number, to_index(packet.pair.a), to_string(a.verdict),
                       to_index(packet.pair.b), to_string(b.verdict), packet.same_reason ? "" : "FATE ",
                       packet.first ? packet.first->text() : "same");
        }
        if ((!packet.same() && ++differing == wishes.diff) || number == wishes.packet) {
            fmt::print("\n--- {}: test packet {}, A the model, B the recording\n{}\n", run.manifest().phases[phase].name, number,
                       run.side_by_side(packet.pair));
        }
    }
    if (wishes.sum) {
        show_sum(run, phase, comparison);
    }
    const auto lonely = [](const std::vector<PacketId>& ids, const Trace& trace, const char* side) {
        constexpr std::size_t most = 3;
        for (std::size_t i = 0; i < std::min(ids.size(), most); ++i) {
            const PacketRecord& packet = trace.packet(ids[i]);
            fmt::print("  only in the {}: #{} {} {}\n", side, to_index(ids[i]), to_string(packet.verdict), packet.flow ? packet.flow->text() : "");
        }
        if (ids.size() > most) {
            fmt::print("  … and {} more only in the {}\n", ids.size() - most, side);
        }
    };
    if (!run.manifest().phases.empty() && !hangs_on_speed(run.manifest().phases[phase])) {
        lonely(comparison.only_in_a, run.model(), "model");
        lonely(comparison.only_in_b, run.recorded(), "recording");
    }
}

} // namespace

int main(int argc, char** argv)
{
    Wishes wishes;
    const auto number_behind = [&](int& i) { return i + 1 < argc && std::atoi(argv[i + 1]) > 0 ? std::atoi(argv[++i]) : 1; };
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (word == "--sum") {
            wishes.sum = true;
        } else if (word == "--scenario") {
            wishes.scenario = true;
        } else if (word == "--pairs") {
            wishes.pairs = true;
        } else if (word == "--counters") {
            wishes.counters = true;
        } else if (word == "--notes") {
            wishes.notes = true;
        } else if (word == "--diff") {
            wishes.diff = number_behind(i);
        } else if (word == "--packet") {
            wishes.packet = number_behind(i);
        } else if (word == "--phase" && i + 1 < argc) {
            wishes.phase = argv[++i];
        } else if (word.starts_with("--")) {
            fmt::print(stderr, "{}", usage);
            return 2;
        } else {
            wishes.folders.emplace_back(word);
        }
    }
    if (wishes.folders.empty()) {
        fmt::print(stderr, "{}", usage);
        return 2;
    }
    std::vector<FolderFidelity> results;
    for (const std::string& folder : wishes.folders) {
        const auto run = FidelityRun::open(folder);
        if (!run) {
            fmt::print(stderr, "{}\n", run.error().describe());
            continue;
        }
        FolderFidelity result = (*run)->result();
        fmt::print(stderr, "{} runs\n", (*run)->runs());
        if (wishes.scenario && (*run)->rebuilt() != nullptr) {
            fmt::print("{}\n", to_text((*run)->rebuilt()->scenario));
        }
        for (std::size_t phase = 0; phase < result.rows.size(); ++phase) {
            if ((wishes.phase.empty() || wishes.phase == result.rows[phase].phase) && result.rows[phase].refused.empty()) {
                if ((*run)->manifest().phases[phase].stream || result.rows[phase].hangs_on_speed) {
                    show_differing(result.rows[phase], wishes);
                } else {
                    show_phase(**run, phase, wishes);
                }
            }
        }
        if (wishes.notes) {
            for (const std::string& note : result.notes) {
                fmt::print("  note: {}\n", note);
            }
        }
        if (!wishes.counters) {
            result.counters.clear();
        }
        results.push_back(std::move(result));
    }
    fmt::print("{}", fidelity_to_text(results));
    return 0;
}
