//! `kmlflow demo`: a service on a free port in a temporary directory, and the story that is played to it through its doors.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::client::{Call, Client};
use super::error::{CliError, Exit};
use super::output::{Format, Output};
use super::serve::{bind, curl};
use super::story::{Act, Step, Story, Told};
use super::table::{Cell, Table, Tone, facts};
use super::views::{commit, history, items, phase, split, text};
use super::{Context, LogFormat, Program, Started, asked_to_stop, usage, watch};
use crate::config::{ADMIN_TOKEN_FILE, ClientSettings, Config, Environment, Flags, SecretText, read_secret_file};
use crate::names::DeliveryId;
use crate::webhook::signature::{Secret, sign_mlflow};

/// How often a delivery is looked at until it is carried out; a commit takes some milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a step may take: a thousand times what it takes on a laptop.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the policy of a new repository puts every release.
const PLACE: [&str; 2] = ["production", "models"];

/// See the five strategies, made by signed deliveries like MLflow's.
#[derive(Debug, Args)]
#[command(after_help = usage::DEMO)]
pub(super) struct DemoArgs {
    /// End after the story instead of staying up.
    #[arg(long)]
    exit: bool,
}

/// Serves, plays the story, and stays up until it is asked to stop.
pub(super) async fn run(
    args: DemoArgs,
    environment: &Environment,
    output: Output,
    program: &impl Program,
) -> Result<Exit, CliError> {
    program.log(LogFormat::Text, "error");
    let directory = tempfile::Builder::new().prefix("kmlflow-demo-").tempdir()?;
    let flags = Flags { config: None, data_dir: Some(directory.path().to_owned()), listen: None };
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let config = Config::load(&flags, &settings(environment, listener.local_addr()?))?;
    let (started, starting) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let ready = move |announced: &Started| {
        // Nobody waits for it any more only if the demo has ended.
        drop(started.send(announced.clone()));
    };
    let service = program.serve(config, listener, ready, async {
        let _ = stopped.await;
    });
    let mut service = std::pin::pin!(service);
    let played = tokio::select! {
        ended = &mut service => return ended.map(|()| Exit::Failed),
        played = play(args, starting, output) => played,
    };
    let _ = stop.send(());
    service.await?;
    played
}

/// The demo's own settings: the user's do not count, but for where programs are found.
fn settings(environment: &Environment, address: SocketAddr) -> Environment {
    let own = [
        ("KMLFLOW__LISTEN", address.to_string()),
        ("KMLFLOW__PUBLIC_URL", format!("http://{address}")),
        ("KMLFLOW__ENVIRONMENTS__PRODUCTION__BLIND_DELAY", "0s".to_owned()),
    ];
    let mut settings: Environment = own.map(|(name, text)| (name.to_owned(), text)).into();
    settings.extend(
        environment
            .iter()
            .filter(|(name, _)| !name.starts_with("KMLFLOW"))
            .map(|(name, text)| (name.clone(), text.clone())),
    );
    settings
}

async fn play(args: DemoArgs, starting: oneshot::Receiver<Started>, output: Output) -> Result<Exit, CliError> {
    let told = async {
        let started = starting.await.map_err(|_| CliError::failed("the service did not start"))?;
        let mut stage = Stage::new(&started, output)?;
        stage.open(&started)?;
        stage.tell(&Story::read()?).await?;
        stage.close(&started, args.exit).await?;
        if args.exit {
            return Ok(());
        }
        stage.stay().await
    };
    tokio::select! {
        ended = told => ended.map(|()| Exit::Done),
        () = asked_to_stop() => Ok(Exit::Done),
    }
}

/// Where the story is played: a client of the service, and what is on the screen.
struct Stage {
    ctx: Context,
    secret: Secret,
    /// The last delivery, for delivering it once more.
    last: Option<(DeliveryId, String)>,
    /// How many lines the table has that is on the screen now.
    table_lines: usize,
}

impl Stage {
    fn new(started: &Started, output: Output) -> Result<Self, CliError> {
        let token = started.new_admin_token.clone().ok_or_else(|| CliError::failed("the service made no token"))?;
        let settings =
            ClientSettings { url: format!("http://{}", started.address), token: Some(SecretText::new(&token)) };
        // The secret that MLflow would be given.
        let secret = read_secret_file(&started.data_dir.join("secrets/mlflow"))?;
        let secret = Secret::parse(secret.expose()).map_err(|error| CliError::failed(error.to_string()))?;
        let ctx = Context { client: Client::new(&settings)?, output, now: Timestamp::now() };
        Ok(Self { ctx, secret, last: None, table_lines: 0 })
    }

    fn open(&mut self, started: &Started) -> Result<(), CliError> {
        let color = self.ctx.output.color();
        let address = format!("http://{}", started.address);
        let data_dir = started.data_dir.display().to_string();
        self.show(&format!(
            "{}\n\n{}\n",
            Tone::Strong.paint("Kmlflow demo: five releases by signed deliveries, each change a commit", color),
            facts(&[("service", address.into()), ("directory", data_dir.into())], color),
        ))
    }

    async fn tell(&mut self, story: &Story) -> Result<(), CliError> {
        for step in &story.steps {
            let begun = Instant::now();
            let what = self.step(step).await?;
            self.done(&step.say, &what, begun.elapsed()).await?;
        }
        let path = release_path(story.history.as_str(), "history");
        let reply = self.ctx.client.get(&path).await?;
        let table = history(items(&reply.body), Timestamp::now()).to_text(self.ctx.output.color());
        self.show(&format!("\n{}\n\n{table}", self.title(&format!("History of {}", story.history))))
    }

    /// Plays one step and says in a few words what came of it.
    async fn step(&mut self, step: &Step) -> Result<String, CliError> {
        match &step.act {
            Some(act) => self.act(act).await,
            None if step.again => self.deliver_again().await,
            None => self.deliver(&step.deliveries).await,
        }
    }

    async fn act(&self, Act { release, verb }: &Act) -> Result<String, CliError> {
        let path = release_path(release.as_str(), verb);
        let reply = self.ctx.client.call(Call::new(Method::POST, &path).body(serde_json::json!({}))).await?;
        Ok(format!("commit {}", commit(&reply.body, "/commit")))
    }

    async fn deliver(&mut self, told: &[Told]) -> Result<String, CliError> {
        let mut ids = Vec::new();
        for told in told {
            let id = DeliveryId::parse(&uuid::Uuid::new_v4().to_string())?;
            let body = told.body(Timestamp::now())?;
            self.post(&id, &body).await?;
            self.last = Some((id.clone(), body));
            ids.push(id);
        }
        for id in &ids {
            self.until_done(id).await?;
        }
        Ok(format!("{} deliveries", ids.len()))
    }

    async fn deliver_again(&self) -> Result<String, CliError> {
        let Some((id, body)) = &self.last else {
            return Err(CliError::failed("the story has nothing to deliver once more"));
        };
        let status = self.post(id, body).await?;
        Ok(format!("answered {status}, no commit"))
    }

    /// Posts a delivery as MLflow does: signed, with its three headers.
    async fn post(&self, id: &DeliveryId, body: &str) -> Result<u16, CliError> {
        let headers = sign_mlflow(&self.secret, id, Timestamp::now(), body.as_bytes());
        Ok(self.ctx.client.deliver("/webhooks/mlflow", &headers, body.to_owned()).await?.status)
    }

    /// Waits until a delivery is carried out.
    async fn until_done(&self, id: &DeliveryId) -> Result<(), CliError> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let delivery = self.ctx.client.get(&["deliveries", id.as_str()]).await?.body;
            let (state, reason) = (text(&delivery, "/state"), text(&delivery, "/reason"));
            match state.as_str() {
                "accepted" if Instant::now() < deadline => sleep(LOOK_EVERY).await,
                "accepted" => return Err(CliError::new(Exit::Deadline, "a delivery was not carried out in time")),
                "refused" | "failed" => return Err(CliError::failed(format!("a delivery was {state}: {reason}"))),
                _ => return Ok(()),
            }
        }
    }

    /// Shows a step that is done, and the table as it is now below it.
    async fn done(&mut self, said: &str, what: &str, took: Duration) -> Result<(), CliError> {
        let color = self.ctx.output.color();
        let releases = self.ctx.client.get(&["releases"]).await?.body;
        let line = format!(
            "{} {said} {}\n",
            Tone::Good.paint("✓", color),
            Tone::Dim.paint(&format!("({what}, {} ms)", took.as_millis()), color)
        );
        let table = format!("\n{}", table(items(&releases)).to_text(color));
        if !self.ctx.output.is_terminal() {
            return self.show(&line);
        }
        let up = if self.table_lines > 0 { format!("\u{1b}[{}A\u{1b}[J", self.table_lines) } else { String::new() };
        self.table_lines = table.lines().count();
        self.show(&format!("{up}{line}{table}"))
    }

    /// Shows the releases, and unless the service ends where to look and what to try.
    async fn close(&mut self, started: &Started, ends: bool) -> Result<(), CliError> {
        let reply = self.ctx.client.get(&["releases"]).await?;
        let output = &self.ctx.output;
        if output.format() != Format::Text {
            return output.data(&reply.raw, &reply.body, |_| String::new());
        }
        let color = output.color();
        if !output.is_terminal() {
            self.show(&format!("\n{}\n\n{}", self.title("Releases"), table(items(&reply.body)).to_text(color)))?;
        }
        if ends { Ok(()) } else { self.show_addresses(started) }
    }

    fn show_addresses(&self, started: &Started) -> Result<(), CliError> {
        let color = self.ctx.output.color();
        let address = format!("http://{}", started.address);
        let token_file = started.data_dir.join(ADMIN_TOKEN_FILE);
        let [environment, namespace] = PLACE;
        let release = format!("{address}/api/v1/releases/{environment}/{namespace}/churn-predictor");
        self.show(&format!(
            "\n{}\n\n{}",
            self.title("Look around"),
            facts(
                &[
                    ("page", started.sign_in_url.as_str().into()),
                    ("repository", format!("git clone {}", started.repository_url).into()),
                    ("one step on", format!("{} -X POST {release}/advance", curl(&token_file)).into()),
                    ("command", self.command(&address, &token_file).into()),
                ],
                color,
            ),
        ))
    }

    /// A command that works in the directory where the demo was started.
    fn command(&self, address: &str, token_file: &Path) -> String {
        format!("{} --url {address} --token-file {} list", self.ctx.output.program(), token_file.display())
    }

    /// Says what happens until it is asked to stop.
    async fn stay(&self) -> Result<(), CliError> {
        let output = &self.ctx.output;
        self.show("\nWhat happens now shows here. Ctrl-C ends the demo and removes its directory.\n")?;
        watch::follow(&self.ctx, |happening| match output.format() {
            Format::Text => output.line(&watch::line(happening, Timestamp::now(), output.color())),
            _ => Ok(()),
        })
        .await
    }

    fn title(&self, text: &str) -> String {
        Tone::Strong.paint(text, self.ctx.output.color())
    }

    /// Prints a part of the show: on stdout for a person, beside the data for a program.
    fn show(&self, text: &str) -> Result<(), CliError> {
        match self.ctx.output.format() {
            Format::Text => self.ctx.output.write(text),
            _ => {
                self.ctx.output.progress_raw(text);
                Ok(())
            }
        }
    }
}

fn release_path<'a>(name: &'a str, last: &'a str) -> [&'a str; 5] {
    let [environment, namespace] = PLACE;
    ["releases", environment, namespace, name, last]
}

/// The releases, narrow enough for a terminal of 80 columns.
fn table(releases: &[Value]) -> Table {
    let mut table = Table::new(&["RELEASE", "STRATEGY", "PHASE", "SPLIT", "COMMIT"]);
    for release in releases {
        table.row([
            Cell::new(&text(release, "/metadata/name"), Tone::Strong),
            text(release, "/spec/strategy").into(),
            phase(release),
            split(release).into(),
            Cell::new(&commit(release, "/commit"), Tone::Dim),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_settings_do_not_reach_the_demo() {
        let environment: Environment = [("KMLFLOW__LISTEN", "0.0.0.0:80"), ("KMLFLOW_TOKEN", "x"), ("PATH", "/bin")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let settings = settings(&environment, "127.0.0.1:4321".parse().unwrap());
        assert_eq!(settings["KMLFLOW__LISTEN"], "127.0.0.1:4321");
        assert_eq!(settings["PATH"], "/bin");
        assert!(!settings.contains_key("KMLFLOW_TOKEN"));
    }
}
