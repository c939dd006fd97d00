#include "ui/live/live_page.h"

#include "ui/controls/choice.h"
#include "ui/controls/label.h"
#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QClipboard>
#include <QGridLayout>
#include <QGuiApplication>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QLineEdit>
#include <QPushButton>
#include <QScopeGuard>
#include <QSignalBlocker>
#include <QSpinBox>
#include <QThreadPool>
#include <QVBoxLayout>
#include <mutex>

namespace skbscope::ui {

/// A question to doctor that is under way; the page lets go of it when it goes itself or asks again.
struct LivePage::Visit {
    std::mutex lock;
    LivePage* page = nullptr;
};

Result<DoctorReport> DoctorReport::parse(const std::string& json)
{
    const QJsonDocument document = QJsonDocument::fromJson(QByteArray::fromStdString(json));
    if (!document.isObject()) {
        return fail(ErrorKind::corrupt, "skbscope doctor", "its answer is no JSON object");
    }
    const QJsonObject all = document.object();
    DoctorReport report;
    report.says = all["says"].toString();
    report.detail = all["detail"].toString();
    report.frames = all["frames"].toBool();
    const int cpus = all["cpus"].toInt();
    report.host = QObject::tr("Linux %1 on %2, %3").arg(all["kernel"].toString(), all["machine"].toString(),
                                                        counted(static_cast<std::uint64_t>(std::max(0, cpus)), "CPU", "CPUs"));
    for (const QJsonValue& value : all["findings"].toArray()) {
        const QJsonObject row = value.toObject();
        report.findings.push_back({row["piece"].toString(), row["state"].toString(), row["costs"].toString(), row["remedy"].toString(),
                                   row["available"].toBool(), row["remedy_is_command"].toBool()});
    }
    return report;
}

LivePage::LivePage(QWidget* parent) : CentrePage(760, parent)
{
    auto* content = CentrePage::content();
    auto* column = new QVBoxLayout(content);
    column->setContentsMargins(12, 36, 12, 24);
    column->setSpacing(8);
    column->addWidget(new Label(tr("Watch a live kernel"), Tone::normal, Theme::sans(22, QFont::DemiBold), content));
    m_about = new Label({}, Tone::muted, Theme::sans(13), content);
    m_about->setWordWrap(true);
    column->addWidget(m_about);
    column->addSpacing(10);

    auto* form = new QGridLayout;
    form->setHorizontalSpacing(14);
    form->setVerticalSpacing(8);
    form->setColumnStretch(1, 1);
    int line = 0;
    const auto field = [&](const QString& name, QWidget* widget, const QString& tip) {
        auto* label = new Label(name, Tone::normal, Theme::sans(13), content);
        label->setBuddy(widget);
        widget->setAccessibleName(name);
        widget->setToolTip(tip);
        form->addWidget(label, line, 0);
        form->addWidget(widget, line, 1);
        ++line;
    };
    m_of = new Choice(content);
    m_of->addItem(tr("this host's own kernel, with all its packets"));
    field(tr("Watch"), m_of, tr("Whose functions the packets pass"));
    m_kernel = new Choice(content);
    field(tr("Kernel"), m_kernel, tr("Which kernel is modelled"));
    m_device = new Choice(content);
    m_device->setFont(Theme::mono(13));
    field(tr("Device"), m_device, tr("Frames of this device, and journeys of the packets that pass it"));
    m_filter = new QLineEdit(content);
    m_filter->setFont(Theme::mono(13));
    m_filter->setPlaceholderText(QStringLiteral("udp port 53"));
    field(tr("Filter"), m_filter, tr("Frames that are kept, in tcpdump's words; empty: all"));
    m_detail = new Choice(content);
    m_detail->addItem(tr("as much as this host allows"), QString());
    m_detail->addItem(tr("tracepoints only: cheapest"), QStringLiteral("tracepoints"));
    m_detail->addItem(tr("tracepoints and probes"), QStringLiteral("probes"));
    m_detail->addItem(tr("every function of the catalog: dearest"), QStringLiteral("functions"));
    field(tr("Detail"), m_detail, tr("How finely a packet's way is seen"));
    m_budget = new QSpinBox(content);
    m_budget->setButtonSymbols(QAbstractSpinBox::NoButtons); // arrow keys and digits do
    m_budget->setRange(0, 100);
    m_budget->setValue(5);
    m_budget->setSuffix(tr(" % of this machine"));
    m_budget->setSpecialValueText(tr("whatever it costs"));
    field(tr("Budget"), m_budget, tr("Where recording would cost more, detail is left out, by a stated rule, and that is said"));
    column->addLayout(form);

    column->addSpacing(6);
    m_start = new QPushButton(tr("Start recording"), content);
    m_start->setProperty("primary", true);
    m_start->setMinimumHeight(34);
    column->addWidget(m_start);
    m_why = new Label({}, Tone::muted, Theme::sans(12), content);
    m_why->setWordWrap(true);
    column->addWidget(m_why);
    m_commandColumn = new QVBoxLayout;
    column->addLayout(m_commandColumn);

    column->addSpacing(14);
    column->addWidget(new Label(tr("Another machine"), Tone::accent, Theme::sans(12, QFont::DemiBold), content));
    auto* remote = new Label(tr("A recording crosses ssh as it is made. Type this in a terminal, with the host's name:"), Tone::muted, Theme::sans(12), content);
    remote->setWordWrap(true);
    column->addWidget(remote);
    column->addWidget(commandRow(QStringLiteral("ssh HOST sudo skbscope record -w - | skbscope -"), content));

    column->addSpacing(14);
    column->addWidget(new Label(tr("What this host allows"), Tone::accent, Theme::sans(12, QFont::DemiBold), content));
    m_state = new Label({}, Tone::normal, Theme::sans(13), content);
    m_state->setWordWrap(true);
    column->addWidget(m_state);
    m_findingColumn = new QVBoxLayout;
    column->addLayout(m_findingColumn);
    column->addStretch(1);

    connect(m_start, &QPushButton::clicked, this, [this] { emit startWanted(request()); });
    connect(m_of, &QComboBox::currentIndexChanged, this, &LivePage::chooseKernel);
    connect(m_kernel, &QComboBox::currentIndexChanged, this, &LivePage::refreshCommand);
    connect(m_device, &QComboBox::currentTextChanged, this, &LivePage::refreshCommand);
    connect(m_filter, &QLineEdit::textChanged, this, &LivePage::refreshCommand);
    connect(m_filter, &QLineEdit::returnPressed, m_start, &QPushButton::click);
    connect(m_detail, &QComboBox::currentIndexChanged, this, &LivePage::refreshCommand);
    connect(m_budget, &QSpinBox::valueChanged, this, &LivePage::refreshCommand);
    chooseKernel();
}

LivePage::~LivePage()
{
    if (m_visit != nullptr) {
        const std::lock_guard guard(m_visit->lock);
        m_visit->page = nullptr;
    }
}

void LivePage::setServices(LiveServices services)
{
    m_services = std::move(services);
    m_start->setEnabled(m_services.start != nullptr);
    m_kernel->clear();
    for (const std::string& kernel : m_services.kernels) {
        m_kernel->addItem(tr("model of %1").arg(text(kernel)), text(kernel));
    }
    if (const int usual = m_kernel->findData(QStringLiteral("6.1")); usual >= 0) {
        m_kernel->setCurrentIndex(usual);
    }
    if (m_services.kernels.empty()) {
        m_of->removeItem(1);
    } else if (m_of->count() == 1) {
        m_of->addItem(tr("the modelled kernel, with the frames of a device of this host"));
    }
    chooseKernel();
}

bool LivePage::throughModel() const
{
    return m_of->currentIndex() == 1;
}

void LivePage::chooseKernel()
{
    const bool model = throughModel();
    m_about->setText(model ? tr("A device's frames, as they come, go through the NIC, interrupts and functions of the modelled kernel. A small program with "
                                "the right to capture hands them on; this window has no such right. This host's own kernel is not watched, nothing of the "
                                "host is changed, and what the model sends goes nowhere.")
                           : tr("A small recorder with the rights it needs writes what the kernel does with its packets; this window, which has no "
                                "such rights, reads along. Nothing of the host is changed, and nobody else's tracing is disturbed."));
    for (auto* label : content()->findChildren<Label*>()) {
        if (label->buddy() == m_kernel) {
            label->setVisible(model);
        } else if (label->buddy() == m_detail || label->buddy() == m_budget) {
            label->setVisible(!model);
        }
    }
    m_kernel->setVisible(model);
    m_detail->setVisible(!model);
    m_budget->setVisible(!model);
    m_device->setToolTip(model ? tr("What this device sees goes through the model") : tr("Frames of this device, and journeys of the packets that pass it"));
    m_start->setText(model ? tr("Start the model") : tr("Start recording"));
    fillDevices();
    refreshCommand();
}

void LivePage::fillDevices()
{
    const QString chosen = m_device->currentData().toString();
    const QSignalBlocker quiet(m_device);
    m_device->clear();
    if (!throughModel()) {
        m_device->addItem(tr("all devices"), QString());
    }
    for (const std::string& name : m_devices) {
        m_device->addItem(text(name), text(name));
    }
    m_device->setCurrentIndex(std::max(0, m_device->findData(chosen)));
    m_start->setEnabled(m_services.start != nullptr && m_device->count() > 0);
}

QString LivePage::stateText() const
{
    return m_state->text();
}

LiveRequest LivePage::request() const
{
    LiveRequest request;
    request.of = throughModel() ? LiveKernel::model : LiveKernel::host;
    request.device = m_device->currentData().toString().toStdString();
    request.filter = m_filter->text().trimmed().toStdString();
    if (throughModel()) {
        request.kernel = m_kernel->currentData().toString().toStdString();
        request.budget_percent = 0;
        request.needs_prompt = !(m_asked && m_report.frames); // frames are all it needs
        return request;
    }
    request.detail = m_detail->currentData().toString().toStdString();
    request.budget_percent = m_budget->value();
    // Whoever may already do all of it is not asked for more.
    const bool allowed = m_asked && (m_report.detail == "functions" || m_report.detail == "probes" || m_report.detail == "tracepoints") && m_report.frames;
    request.needs_prompt = !allowed;
    return request;
}

void LivePage::refresh()
{
    m_devices = m_services.devices ? m_services.devices() : std::vector<std::string>{};
    fillDevices();
    refreshCommand();
    if (!m_services.doctor) {
        setReport(fail(ErrorKind::unsupported, "this window", "cannot ask what the host allows"));
        return;
    }
    m_state->setText(tr("Looking…"));
    m_state->setTone(Tone::muted);
    if (m_visit != nullptr) {
        const std::lock_guard guard(m_visit->lock);
        m_visit->page = nullptr;
    }
    auto visit = std::make_shared<Visit>();
    visit->page = this;
    m_visit = visit;
    QThreadPool::globalInstance()->start([visit, doctor = m_services.doctor] {
        const auto answer = doctor();
        auto report = std::make_shared<Result<DoctorReport>>(answer ? DoctorReport::parse(*answer) : tl::unexpected(answer.error()));
        const std::lock_guard guard(visit->lock);
        if (visit->page != nullptr) {
            QMetaObject::invokeMethod(
                visit->page,
                [visit, report] {
                    LivePage* page = visit->page; // this thread is the one that lets go
                    if (page != nullptr) {
                        page->setReport(*report);
                    }
                },
                Qt::QueuedConnection);
        }
    });
}

void LivePage::setReport(const Result<DoctorReport>& report)
{
    m_asked = report.has_value();
    m_trouble = report ? QString() : text(report.error().describe());
    m_report = report ? *report : DoctorReport{};
    showFindings();
    refreshCommand();
}

QWidget* LivePage::commandRow(const QString& command, QWidget* parent)
{
    auto* box = new QWidget(parent);
    auto* row = new QHBoxLayout(box);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(8);
    auto* words = new QLineEdit(command, box);
    words->setReadOnly(true);
    words->setFont(Theme::mono(12));
    words->setCursorPosition(0);
    words->setAccessibleName(tr("Command"));
    row->addWidget(words, 1);
    auto* copy = new QPushButton(tr("Copy"), box);
    copy->setToolTip(tr("Copies the command"));
    row->addWidget(copy);
    connect(copy, &QPushButton::clicked, this, [this, command] {
        QGuiApplication::clipboard()->setText(command);
        emit copied(command);
    });
    return box;
}

void LivePage::refreshCommand()
{
    delete m_command;
    m_command = nullptr;
    if (m_services.command) {
        m_command = commandRow(text(m_services.command(request())), this);
        m_commandColumn->addWidget(m_command);
    }
    const bool prompt = request().needs_prompt;
    const bool model = throughModel();
    const bool nothing = m_asked && m_report.detail == "nothing" && !m_report.frames;
    m_why->setText(!m_services.start ? tr("This window cannot start a recorder.")
                   : model && m_device->count() == 0 ? tr("This host has no network device.")
                   : model && !prompt ? tr("This user may capture frames: nobody is asked for anything. What is started:")
                   : model            ? tr("The system asks for a password once, for the right to capture frames; it is given up as soon as the device is open. What is started:")
                   : !prompt         ? tr("This user may record: nobody is asked for anything. What is started:")
                   : nothing         ? tr("This user may not record. The system asks for a password once; what is started with those rights:")
                                     : tr("The system asks for a password once. What is started with those rights:"));
}

void LivePage::showFindings()
{
    delete m_findings;
    m_findings = new QWidget(this);
    m_copies.clear();
    m_findingColumn->addWidget(m_findings);
    if (!m_trouble.isEmpty()) {
        m_state->setText(m_trouble);
        m_state->setTone(Tone::drop);
        return;
    }
    m_state->setTone(m_report.detail == "nothing" ? Tone::drop : Tone::normal);
    m_state->setText(tr("%1\n%2").arg(m_report.host, m_report.says));
    auto* grid = new QGridLayout(m_findings);
    grid->setContentsMargins(0, 6, 0, 0);
    grid->setHorizontalSpacing(12);
    grid->setVerticalSpacing(4);
    grid->setColumnStretch(2, 1);
    int line = 0;
    for (const DoctorReport::Finding& finding : m_report.findings) {
        // Never colour alone: the word stands beside it.
        grid->addWidget(new Label(finding.available ? tr("✓ yes") : tr("✗ no"), finding.available ? Tone::good : Tone::drop,
                                  Theme::sans(12, QFont::DemiBold), m_findings),
                        line, 0, Qt::AlignTop);
        grid->addWidget(new Label(finding.piece, Tone::normal, Theme::sans(12, QFont::DemiBold), m_findings), line, 1, Qt::AlignTop);
        auto* state = new Label(finding.state, Tone::muted, Theme::sans(12), m_findings);
        state->setWordWrap(true);
        grid->addWidget(state, line, 2);
        ++line;
        if (finding.available) {
            continue;
        }
        const auto end_of_block = qScopeGuard([&] { grid->setRowMinimumHeight(line++, 6); }); // what belongs together stands together
        if (!finding.costs.isEmpty()) {
            auto* costs = new Label(tr("Without it: %1").arg(finding.costs), Tone::normal, Theme::sans(12), m_findings);
            costs->setWordWrap(true);
            grid->addWidget(costs, line++, 1, 1, 2);
        }
        if (finding.remedy.isEmpty()) {
            continue;
        }
        if (finding.remedyIsCommand) {
            QWidget* row = commandRow(finding.remedy, m_findings);
            m_copies.push_back(row->findChild<QPushButton*>());
            grid->addWidget(row, line++, 1, 1, 2);
        } else {
            auto* remedy = new Label(finding.remedy, Tone::muted, Theme::sans(12), m_findings);
            remedy->setWordWrap(true);
            grid->addWidget(remedy, line++, 1, 1, 2);
        }
    }
}

} // namespace skbscope::ui
