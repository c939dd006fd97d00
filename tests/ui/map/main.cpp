// One QApplication for all tests of this executable.
#include "ui/theme/theme.h"

#include <QApplication>
#include <gtest/gtest.h>

int main(int argc, char** argv)
{
    if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) {
        qputenv("QT_QPA_PLATFORM", "offscreen");
    }
    QApplication app(argc, argv);
    skbscope::ui::Theme::instance().apply(app);
    skbscope::ui::Theme::instance().setMode(skbscope::ui::Theme::Mode::light);
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
