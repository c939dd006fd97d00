#pragma once
// Quiet colours for nft's, iptables-save's and tcpdump's words. It only colours: what is right or wrong the reader says.

#include "core/trace/source.h"

#include <QSyntaxHighlighter>

namespace skbscope::ui {

class RulesHighlighter : public QSyntaxHighlighter {
    Q_OBJECT

public:
    explicit RulesHighlighter(QTextDocument* document);
    void setLanguage(TextKnob::Language language);

    /// What a word is to the eye.
    enum class Kind { plain, keyword, verdict, refusal, value, name, comment };
    [[nodiscard]] static Kind kindOf(TextKnob::Language language, const QString& word);

protected:
    void highlightBlock(const QString& line) override;

private:
    [[nodiscard]] QTextCharFormat format(Kind kind) const;
    TextKnob::Language m_language = TextKnob::Language::nft;
};

} // namespace skbscope::ui
