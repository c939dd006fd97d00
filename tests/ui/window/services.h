#pragma once
// What the window needs from the program, for tests: scenarios through the model, lessons from the source tree, no user settings.

#include "core/scenario/model_source.h"
#include "ui/main_window.h"

namespace skbscope::test {

inline Result<std::unique_ptr<Source>> openScenario(const std::filesystem::path& path)
{
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
    services.lessons = lessonsFolder();
    services.model = [] { return openScenario(lessonsFolder() / "01-a-datagram-arrives" / "scenario.yaml"); };
    services.remember = false;
    return services;
}

} // namespace skbscope::test
