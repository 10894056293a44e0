//! The proxy's side of the control plane: table commands and credentials. Nothing on the path of a
//! request for items waits for it.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dynamodb::api::ListTables;
use dynamodb::error::{ApiError, ErrorKind};
use dynamodb::table::TableDescriptor;
use wire::method;
use wire::proto::control::table_answer::Answer as Answered;
use wire::proto::control::table_command::Command;
use wire::proto::control::{self, CredentialRequest, CredentialResponse, Exception, NotLeader, TableAnswer};
use wire::transport::{CallError, Connection, ConnectionConfig, Failure};

use crate::auth::{Credential, CredentialSource, SourceUnavailable};
use crate::operations::{TableCommand, Tables, TablesError};
use crate::request_path::Deadline;

/// Between two rounds over the members while none leads: an election takes about a second.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// Members asked in one round at most, so that two members that name each other end it.
const ROUND: usize = 5;

/// How long one member may take over a command before another is asked, where asking twice is harmless.
const READ_PATIENCE: Duration = Duration::from_secs(2);

/// How long one member may take over a credential.
const CREDENTIAL_PATIENCE: Duration = Duration::from_millis(800);

/// The control plane's members. Clones share what is known of the leader.
#[derive(Clone)]
pub(crate) struct ControlClient {
    members: Arc<[Connection]>,
    /// Index of the member that answered last.
    leader: Arc<AtomicUsize>,
}

/// What came of asking one member.
enum Asked {
    Answered(Answered),
    /// It names another one, or none.
    Elsewhere(NotLeader),
    /// Not executed.
    NotReached,
    /// It may have been executed.
    Indefinite,
}

impl ControlClient {
    /// Connects to the members, in the background.
    pub(crate) fn open(addresses: &[String]) -> Self {
        let open = |address: &String| Connection::open(address, ConnectionConfig::named("proxy-control"));
        Self { members: addresses.iter().map(open).collect(), leader: Arc::default() }
    }

    /// Gets `command` executed by the leader, whichever it is.
    async fn command(
        &self,
        principal: &str,
        command: Command,
        deadline: Deadline,
    ) -> Result<Answered, TablesError> {
        let repeatable = matches!(command, Command::Describe(_) | Command::List(_));
        let request = control::TableCommand { principal: principal.into(), command: Some(command) };
        let mut left = deadline.whole();
        while !left.is_zero() {
            if let Some(answer) = self.round(&request, repeatable, left).await? {
                return Ok(answer);
            }
            tokio::time::sleep(ROUND_PAUSE.min(left)).await;
            left = deadline.left();
        }
        Err(TablesError::Unavailable)
    }

    /// Asks members until one leads; none: no one does now.
    async fn round(
        &self,
        request: &control::TableCommand,
        repeatable: bool,
        left: Duration,
    ) -> Result<Option<Answered>, TablesError> {
        let mut member = self.leader.load(Ordering::Relaxed) % self.members.len();
        for _ in 0..ROUND.max(self.members.len()) {
            let patience = if repeatable { left.min(READ_PATIENCE) } else { left };
            match self.ask(member, request, patience).await {
                Asked::Answered(answer) => {
                    self.leader.store(member, Ordering::Relaxed);
                    return Ok(Some(answer));
                }
                Asked::Elsewhere(named) => match self.named(&named) {
                    Some(leader) if leader != member => member = leader,
                    // No leader: the next member may know more.
                    _ => member = (member + 1) % self.members.len(),
                },
                Asked::NotReached => member = (member + 1) % self.members.len(),
                Asked::Indefinite if repeatable => member = (member + 1) % self.members.len(),
                Asked::Indefinite => return Err(TablesError::Unavailable),
            }
        }
        Ok(None)
    }

    async fn ask(&self, member: usize, request: &control::TableCommand, left: Duration) -> Asked {
        match self.members[member].call::<method::Tables>(request, left).await {
            Ok(TableAnswer { answer: Some(Answered::NotLeader(named)) }) => Asked::Elsewhere(named),
            Ok(TableAnswer { answer: Some(answer) }) => Asked::Answered(answer),
            Err(
                CallError::QueueFull
                | CallError::NotConnected
                | CallError::Failed(Failure::Unavailable | Failure::Overloaded | Failure::DeadlineExceeded),
            ) => Asked::NotReached,
            Ok(TableAnswer { answer: None }) | Err(_) => Asked::Indefinite,
        }
    }

    fn named(&self, named: &NotLeader) -> Option<usize> {
        let address = named.leader_address.as_deref()?;
        self.members.iter().position(|member| member.address() == address)
    }
}

impl Tables for ControlClient {
    async fn command(
        &self,
        principal: &str,
        command: TableCommand,
        deadline: Deadline,
    ) -> Result<TableDescriptor, TablesError> {
        let command = match command {
            TableCommand::Create(new) => Command::Create(json(&*new)),
            TableCommand::Update(change) => Command::Update(json(&*change)),
            TableCommand::Delete(name) => Command::Delete(name),
            TableCommand::Describe(name) => Command::Describe(name),
        };
        match Self::command(self, principal, command, deadline).await? {
            Answered::Table(table) => serde_json::from_slice(&table).map_err(|error| {
                tracing::error!(error = %error, "the control plane sent a malformed table");
                TablesError::Unavailable
            }),
            Answered::Exception(exception) => Err(refused(exception)),
            Answered::Names(_) | Answered::NotLeader(_) => Err(TablesError::Unavailable),
        }
    }

    async fn list(
        &self,
        principal: &str,
        list: &ListTables,
        deadline: Deadline,
    ) -> Result<(Vec<String>, bool), TablesError> {
        let command = Command::List(control::ListTables {
            start_after: list.start.clone(),
            limit: u32::try_from(list.limit).unwrap_or(u32::MAX),
        });
        match Self::command(self, principal, command, deadline).await? {
            Answered::Names(names) => Ok((names.names, names.more)),
            Answered::Exception(exception) => Err(refused(exception)),
            Answered::Table(_) | Answered::NotLeader(_) => Err(TablesError::Unavailable),
        }
    }
}

impl CredentialSource for ControlClient {
    /// Any member answers from what it has applied.
    async fn fetch(&self, access_key: &str) -> Result<Option<Credential>, SourceUnavailable> {
        let request = CredentialRequest { access_key: access_key.into() };
        let first = self.leader.load(Ordering::Relaxed);
        for step in 0..self.members.len() {
            let member = &self.members[(first + step) % self.members.len()];
            if let Ok(answer) = member.call::<method::Credential>(&request, CREDENTIAL_PATIENCE).await {
                return Ok(credential(answer));
            }
        }
        Err(SourceUnavailable)
    }
}

fn credential(answer: CredentialResponse) -> Option<Credential> {
    answer.found.then(|| Credential {
        secret_key: answer.secret_key,
        principal: Arc::from(answer.principal),
        active: answer.active,
    })
}

fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).expect("table commands are plain data").into()
}

/// The exceptions that the control plane answers with.
const KINDS: [ErrorKind; 8] = [
    ErrorKind::AccessDenied,
    ErrorKind::InternalServerError,
    ErrorKind::LimitExceeded,
    ErrorKind::ResourceInUse,
    ErrorKind::ResourceNotFound,
    ErrorKind::ServiceUnavailable,
    ErrorKind::Throttling,
    ErrorKind::Validation,
];

fn refused(exception: Exception) -> TablesError {
    match KINDS.into_iter().find(|kind| kind.type_name() == exception.kind) {
        Some(kind) => TablesError::Refused(ApiError::new(kind, exception.message)),
        None => {
            tracing::error!(kind = exception.kind, "the control plane sent an unknown exception");
            TablesError::Unavailable
        }
    }
}
