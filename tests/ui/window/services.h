#pragma once
// What the window needs from the program, for tests: scenarios through the model, lessons from the source tree, no user settings.

#include "capture/why_drop.h"
#include "core/recording/recording.h"
#include "core/scenario/model_source.h"
#include "ui/main_window.h"

#include <QCoreApplication>

namespace skbscope::test {

/// Scenarios, and recordings by their suffix.
inline Result<std::unique_ptr<Source>> openScenario(const std::filesystem::path& path)
{
    if (path.extension() == ".pcapng") {
        auto recording = read_recording(path);
        if (!recording) {
            return tl::unexpected(recording.error());
        }
        return std::make_unique<TraceSource>(path.filename().string(), std::move(recording->trace));
    }
    auto scenario = load_scenario(path);
    if (!scenario) {
        return tl::unexpected(scenario.error());
    }
    return std::make_unique<ModelSource>(std::move(*scenario));
}

inline std::filesystem::path lessonsFolder()
{
    return std::filesystem::path(SKBSCOPE_SOURCE_DIR) / "lessons";
}

inline ui::WindowServices services()
{
    ui::WindowServices services;
    services.open = openScenario;
    services.save = [](const Source& source, const std::filesystem::path& path, Progress& progress) {
        return write_recording(source.trace(), path, {.progress = &progress});
    };
    services.lessons = lessonsFolder();
    services.model = [] { return openScenario(lessonsFolder() / "01-a-datagram-arrives" / "scenario.yaml"); };
    services.explain = [](const Trace& trace, const JourneyIndex& journeys, PacketId packet) -> std::optional<DropExplanation> {
        auto drops = explain_drops(trace, journeys, std::span(&packet, 1), settings_behind(trace));
        return drops.empty() ? std::nullopt : std::optional(std::move(drops.front()));
    };
    services.remember = false;
    return services;
}

/// What was posted happens, and what that posts.
inline void settle()
{
    for (int i = 0; i < 4; ++i) {
        QCoreApplication::sendPostedEvents();
        QCoreApplication::processEvents();
    }
}

} // namespace skbscope::test
