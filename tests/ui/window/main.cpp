// One QApplication for all tests of the window.

#include "ui/theme/theme.h"

#include <QApplication>
#include <gtest/gtest.h>

int main(int argc, char** argv)
{
    qputenv("QT_QPA_PLATFORM", "offscreen");
    QApplication app(argc, argv);
    skbscope::ui::Theme::instance().apply(app);
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
