//! `receipt VERB`: proof of what was received, signed by the receiver.

use std::{fs::File, io::Read, path::PathBuf};

use clap::Subcommand;
use serde::Serialize;
use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    client::Client,
    control::{
        routes,
        transfer::{RECEIPT_MAX, Receipt, ReceiptVerdict},
    },
    nouns::text::Shown,
};

use crate::{
    cli::{ID_HELP, transfer_id},
    ending::End,
    print::{Screen, quantity::size, table},
};

#[derive(Subcommand, Debug)]
pub(crate) enum ReceiptVerb {
    /// The receipt of a transfer that was delivered (with --json: what `verify` takes)
    Show {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
    },
    /// Whether a receipt in a file is true, whoever it is from
    Verify {
        /// As `receipt show --json` wrote it
        file: PathBuf,
    },
}

/// What was found, for programs.
#[derive(Serialize)]
struct Verdict {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
}

impl ReceiptVerb {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        match self {
            Self::Show { id } => {
                let receipt: Receipt = client.get(&routes::fill(routes::TRANSFER_RECEIPT, &id.to_string())).await?;
                screen.say(&receipt, || shown(&receipt))
            }
            Self::Verify { file } => {
                // what is no receipt at all is a false one too: whoever changed it may have broken its form
                let false_one = match read(&file)? {
                    Some(receipt) if client.post_with::<_, ReceiptVerdict>(routes::RECEIPTS_VERIFY, &receipt).await?.valid => None,
                    Some(_) => Some("the receipt is false: its receiver did not sign this".to_owned()),
                    None => Some(format!("{} holds no receipt, or a broken one", Shown(&file.to_string_lossy()))),
                };
                judge(false_one, screen)
            }
        }
    }
}

fn judge(false_one: Option<String>, screen: &Screen) -> Result<(), End> {
    let Some(why) = false_one else {
        return screen.say(&Verdict { valid: true, error: None }, || "The receipt is true: its receiver signed exactly this.".to_owned());
    };
    let error = ErrorBody::new(ErrorCode::Integrity, why).hint("it proves nothing; `sharectl receipt show ID --json` writes a true one");
    screen.failure(&error);
    screen.say(&Verdict { valid: false, error: Some(error) }, String::new)?;
    Err(End::Told(ErrorCode::Integrity.exit_code()))
}

/// The receipt in a file; `None` where it holds something else.
fn read(path: &std::path::Path) -> Result<Option<Receipt>, ErrorBody> {
    let mut bytes = Vec::new();
    let shown = path.to_string_lossy();
    let read = File::open(path).and_then(|file| file.take(RECEIPT_MAX as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| ErrorBody::new(ErrorCode::LocalFile, format!("cannot read {}: {error}", Shown(&shown))))?;
    if bytes.len() > RECEIPT_MAX {
        let message = format!("{} is longer than any receipt, which has at most {}", Shown(&shown), size(RECEIPT_MAX as u64));
        return Err(ErrorBody::new(ErrorCode::LocalFile, message).hint("`sharectl receipt show ID --json` writes one"));
    }
    Ok(serde_json::from_slice(&bytes).ok())
}

fn shown(receipt: &Receipt) -> String {
    let head = [
        ("from", receipt.from.grouped()),
        ("to", receipt.to.grouped()),
        ("at", receipt.at.clone()),
        ("signature", receipt.signature.clone()),
    ];
    let rows = receipt.files.iter().map(|file| [file.path.clone(), size(file.size), file.hash.clone()]);
    format!("{}\n\n{}", table::pairs(head), table::table(["FILE", "SIZE", "BLAKE3"], rows))
}
