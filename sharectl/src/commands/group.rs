//! `group VERB`: peers under one name, for targets such as `@team`.

use clap::Subcommand;
use sharekaro_proto::{
    client::Client,
    control::{
        message::{Group, GroupPeers, Groups},
        routes,
    },
    nouns::text::Shown,
};

use crate::{
    cli::PEERS_HELP,
    ending::End,
    print::{Screen, table},
};

#[derive(Subcommand, Debug)]
pub(crate) enum GroupVerb {
    /// Put peers into a group; it is made where it is missing
    Add {
        /// What it is called, without the @
        name: String,
        #[arg(required = true, help = PEERS_HELP)]
        peers: Vec<String>,
    },
    /// Take peers out of a group, or, naming none, end it
    Remove {
        /// What it is called, without the @
        name: String,
        #[arg(help = PEERS_HELP)]
        peers: Vec<String>,
    },
    /// All groups
    List,
}

impl GroupVerb {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let group: Group = match self {
            Self::Add { name, peers } => client.post_with(&routes::fill(routes::GROUP_ADD, &name), &GroupPeers { peers }).await?,
            Self::Remove { name, peers } => client.post_with(&routes::fill(routes::GROUP_REMOVE, &name), &GroupPeers { peers }).await?,
            Self::List => {
                let groups: Groups = client.get(routes::GROUPS).await?;
                return screen.say(&groups, || list(&groups.groups));
            }
        };
        screen.say(&group, || match group.peers.as_slice() {
            [] => format!("there is no group @{} any more", Shown(&group.name)),
            peers => format!("@{}: {}", Shown(&group.name), Shown(&peers.join(", "))),
        })
    }
}

fn list(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "No groups yet. Make one: sharectl group add NAME PEER...".to_owned();
    }
    table::table(["GROUP", "PEERS"], groups.iter().map(|group| [format!("@{}", group.name), group.peers.join(", ")]))
}
