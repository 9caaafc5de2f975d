//! Following transfers to their end: their progress, how they end, and what Ctrl-C does meanwhile.
//!
//! The transfers are the daemon's: whatever happens here, they go on. `table` decides when there is nothing left to
//! wait for.

mod table;

use std::time::{Duration, Instant};

use serde_json::json;
use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    client::{Client, EventStream},
    control::{
        routes,
        transfer::{Transfer, Transfers},
    },
    nouns::{
        text::Shown,
        transfer::{Direction, TransferState},
    },
};

use self::table::{FollowTable, NAMED_MAX, Outcome};
use super::signals::Signals;
use crate::{
    ending::{End, INTERRUPTED},
    print::{
        Screen,
        progress::Progress,
        quantity::{count, rate, size, span},
        transfer::{more, way, what},
    },
};

/// How long after a first Ctrl-C a second one cancels.
const SECOND_THOUGHT: Duration = Duration::from_secs(3);

/// Nothing may come for long while a bound runs out; so often we look at the clock.
const TICK: Duration = Duration::from_millis(250);

/// Follows these transfers until each is at an end, or there is nothing to wait for.
pub(super) async fn to_the_end(transfers: Vec<Transfer>, wait: Option<Duration>, client: &Client, screen: &Screen) -> Result<(), End> {
    until(Signals::interrupts()?, transfers, wait, client, screen).await
}

/// The same for who waits for more signals than Ctrl-C: any other ends us, and the transfers go on.
pub(super) async fn until(
    mut signals: Signals,
    transfers: Vec<Transfer>,
    wait: Option<Duration>,
    client: &Client,
    screen: &Screen,
) -> Result<(), End> {
    let mut progress = Progress::new(screen, transfers.len());
    let mut table = FollowTable::new(transfers, wait, Instant::now());
    let mut events = client.events().await?;
    show(table.transfers(), screen, &mut progress)?;
    let followed = tokio::select! {
        followed = follow(&mut table, &mut events, screen, &mut progress) => followed,
        ended = signals.next() => Err(End::Told(ended)),
    };
    progress.end();
    match followed {
        Err(End::Told(INTERRUPTED)) => detach(&table, signals, client, screen).await,
        Err(end) => Err(end),
        Ok(()) => tell(table.outcomes(Instant::now()), screen),
    }
}

async fn follow(table: &mut FollowTable, events: &mut EventStream, screen: &Screen, progress: &mut Progress) -> Result<(), End> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !table.over(Instant::now()) {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event? else {
                    let error = ErrorBody::new(ErrorCode::NoDaemon, "the daemon ended");
                    return Err(error.hint("start it again: what was not finished goes on by itself").into());
                };
                let changed = table.apply(event.fact, Instant::now());
                if !table.over(Instant::now()) {
                    show(&changed, screen, progress)?;
                }
            }
            _ = tick.tick() => {}
        }
    }
    Ok(())
}

fn show<'a>(transfers: impl IntoIterator<Item = &'a Transfer>, screen: &Screen, progress: &mut Progress) -> Result<(), End> {
    for transfer in transfers {
        if screen.is_json() {
            screen.say(transfer, String::new)?;
        }
        progress.show(screen, transfer);
    }
    Ok(())
}

/// The first Ctrl-C: the transfers go on without us, unless a second one follows.
async fn detach(table: &FollowTable, mut signals: Signals, client: &Client, screen: &Screen) -> Result<(), End> {
    let going_on: Vec<&Transfer> = table.transfers().filter(|transfer| !transfer.state.ended()).collect();
    for transfer in &going_on {
        let id = transfer.id;
        screen.note(&format!("{id} {} goes on without us; see it with `sharectl transfer show {id}`", way(transfer)));
    }
    screen.note(&format!("Ctrl-C again within {} cancels", span(SECOND_THOUGHT.as_secs())));
    match tokio::time::timeout(SECOND_THOUGHT, signals.next()).await {
        Ok(INTERRUPTED) => {}
        Ok(ended) => return Err(End::Told(ended)),
        Err(_) => return Err(End::Told(INTERRUPTED)),
    }
    let (mut ended, mut trouble) = (Vec::new(), None);
    for transfer in going_on {
        match cancelled(transfer.id, client).await {
            Ok(transfer) => ended.push(transfer),
            Err(error) => trouble = trouble.or(Some(error)), // the others are cancelled all the same
        }
    }
    last_line(&ended, screen)?;
    for transfer in &ended {
        screen.note(&format!("{} is {}", transfer.id, transfer.state));
    }
    Err(trouble.map_or(End::Told(ErrorCode::Cancelled.exit_code()), End::Failed))
}

/// The transfer at its end: one that ended by itself meanwhile is not cancelled any more.
async fn cancelled(id: TransferId, client: &Client) -> Result<Transfer, ErrorBody> {
    let id = id.to_string();
    match client.post(&routes::fill(routes::TRANSFER_CANCEL, &id)).await {
        Err(error) if error.code == ErrorCode::WrongState => client.get(&routes::fill(routes::TRANSFER, &id)).await,
        done => done,
    }
}

/// Says how each ended; the exit code is that of all of them together.
fn tell(outcomes: Vec<Outcome>, screen: &Screen) -> Result<(), End> {
    let code = table::exit_code(&outcomes);
    let errors = outcomes.iter().filter_map(|outcome| Some(with_its_author(outcome.error.as_ref()?, &outcome.transfer))).collect();
    let mut transfers = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        if !screen.is_json() {
            tell_person(&outcome, screen)?;
        }
        transfers.push(Transfer { error: outcome.error.or(outcome.transfer.error), ..outcome.transfer });
    }
    last_line(&transfers, screen)?;
    if code == 0 { Ok(()) } else { Err(End::ToldOf { code, errors }) }
}

/// The result for programs: the transfer, or all of them.
fn last_line(transfers: &[Transfer], screen: &Screen) -> Result<(), End> {
    match transfers {
        [one] => screen.say(one, String::new),
        several => screen.say(&Transfers { transfers: several.to_vec() }, String::new),
    }
}

fn tell_person(outcome: &Outcome, screen: &Screen) -> Result<(), End> {
    let transfer = &outcome.transfer;
    if transfer.state == TransferState::Done {
        screen.say(&json!({}), || arrived(transfer))?;
    }
    if let Some(error) = &outcome.error {
        screen.failure(&with_its_author(error, transfer));
        if !transfer.state.ended() && table::needs_a_person(error.code) {
            let id = transfer.id;
            screen.note(&format!("{id} stays with the daemon and goes on as soon as it can; `sharectl transfer cancel {id}` ends it"));
        }
    }
    Ok(())
}

/// What a person at the other end wrote as a reason does not say by itself who wrote it, nor a disk whose it is.
fn with_its_author(error: &ErrorBody, transfer: &Transfer) -> ErrorBody {
    match (error.code, transfer.direction) {
        (ErrorCode::Declined, Direction::Out) => {
            ErrorBody { message: format!("{} declined: {}", transfer.peer, error.message), ..error.clone() }
        }
        (ErrorCode::NoSpace, Direction::Out) if transfer.state == TransferState::Waiting => {
            ErrorBody { message: format!("{} cannot store it: {}", transfer.peer, error.message), ..error.clone() }
        }
        _ => error.clone(),
    }
}

/// `bob has report.pdf: 3 files, 12.4 MiB in 2 s (6.2 MiB/s)`.
fn arrived(transfer: &Transfer) -> String {
    if transfer.direction == Direction::In {
        let mut paths: Vec<String> = transfer.paths.iter().take(NAMED_MAX).map(|path| Shown(path).to_string()).collect();
        paths.extend(more(transfer.paths_count, paths.len()));
        return format!("{} from {} lies in {}", what(transfer), Shown(&transfer.peer), paths.join(", "));
    }
    let took = transfer.changed_at.duration_since(transfer.created_at).as_secs_f64().max(0.001);
    let new = transfer.bytes_confirmed.saturating_sub(transfer.bytes_reused);
    let speed = if new > 0 { format!(" ({})", rate((new as f64 / took) as u64)) } else { String::new() };
    let mut text = format!(
        "{} has {}: {}, {}",
        Shown(&transfer.peer),
        what(transfer),
        count(transfer.files_done, "file"),
        size(transfer.bytes_confirmed)
    );
    text += &if took < 10.0 { format!(" in {took:.1} s{speed}") } else { format!(" in {}{speed}", span(took as u64)) };
    if transfer.bytes_reused > 0 {
        let reused = if new > 0 { size(transfer.bytes_reused) } else { "all".to_owned() };
        text += &format!(", {reused} of it was there already");
    }
    text
}
