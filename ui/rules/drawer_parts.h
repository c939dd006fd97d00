#pragma once
// What the drawers with a text to write have in common: the cross that closes them, and the line below that leads to what is wrong.

#include "ui/rules/code_editor.h"

#include <QBoxLayout>
#include <QPushButton>
#include <QToolButton>

namespace skbscope::ui {

/// The last of the row.
inline QToolButton* addDrawerClose(QBoxLayout* row, const QString& name, const QString& tip)
{
    auto* close = new QToolButton(row->parentWidget());
    close->setText(QStringLiteral("×"));
    close->setProperty("autoRaise", true);
    close->setAccessibleName(name);
    close->setToolTip(tip);
    row->addWidget(close);
    return close;
}

/// The editor and, below it, a line that goes to the editor's fault when it is pressed.
inline QPushButton* addEditorWithStatus(QBoxLayout* column, CodeEditor* editor)
{
    column->addWidget(editor, 1);
    auto* status = new QPushButton(column->parentWidget());
    status->setProperty("flat", true);
    status->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Fixed);
    column->addWidget(status);
    QObject::connect(status, &QPushButton::clicked, editor, [editor] {
        if (const auto fault = editor->fault()) {
            editor->goTo(*fault);
        }
    });
    return status;
}

} // namespace skbscope::ui
