#pragma once
// What a person turned, so that it can be turned back: a knob or a text.

#include <QPointer>
#include <QString>
#include <QUndoCommand>
#include <cstdint>
#include <functional>
#include <optional>

namespace skbscope::ui {

class Session;

/// Turning back is turning to what it was. If it made a branch, back is to the line it came from, and again is to that branch:
/// nothing that was run is lost.
class Turn : public QUndoCommand {
public:
    using Step = std::function<void(Session&)>;
    Turn(Session* session, const QString& words, Step back, Step forth);
    void undo() override;
    void redo() override;

private:
    [[nodiscard]] std::uint32_t shown() const;
    bool choose(std::uint32_t id);

    QPointer<Session> m_session;
    Step m_back, m_forth;
    std::uint32_t m_from = 0;
    std::optional<std::uint32_t> m_made;
};

} // namespace skbscope::ui
