//! A branch that lives elsewhere: from a request to the pushed commit, against Git's own push of a commit that is ready, behind a real web server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::environment::succeed;
use tests::git_site::{GitSite, LOGIN};
use tests::{Delivery, Request, Server, ServerBuilder, Signing, TestEnvironment};

use crate::commits::{Caller, drained, fill, fill_with, namespace_of, wish};
use crate::line::Line;
use crate::machine::{median, ms, pause, processor_seconds, range, resident_mib_max};
use crate::receiver::post_all;
use crate::report::Report;
use crate::{Bench, Sizes};

/// Pushes of one contender before the next has its turn.
const CHUNK: usize = 10;

/// Requests that wait together, for the long line.
const WAITING: usize = 64;

/// Pushes of one release each, over the long line.
const ALONE: usize = 4;

/// How long a service may take that takes in a large repository for the first time: what it misses by is to be seen in the table.
const FIRST_START_MAX: Duration = Duration::from_secs(600);

/// Deliveries a second that arrive whatever becomes of them.
const ARRIVALS_PER_SECOND: u32 = 200;

/// One push at a time.
pub fn idle(bench: &Bench, report: &mut Report) {
    for releases in bench.sizes.elsewhere {
        idle_with(bench, report, releases);
    }
}

/// A remote that is far away.
pub fn far(bench: &Bench, report: &mut Report) {
    for round_trip in [50, 300].map(Duration::from_millis) {
        far_by(bench, report, round_trip);
    }
}

/// Bare repositories behind a web server, the first one filled by a service.
struct Site<'a> {
    environment: &'a TestEnvironment,
    site: GitSite,
}

impl<'a> Site<'a> {
    fn new(environment: &'a TestEnvironment) -> Self {
        let site = Self { environment, site: GitSite::start(environment) };
        let path = site.path("ours.git");
        succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&path));
        site.git("ours.git", &["config", "http.receivepack", "true"]);
        // What Git does on the side after a push would fall on whoever is measured then.
        site.git("ours.git", &["config", "receive.autogc", "false"]);
        site
    }

    fn path(&self, repository: &str) -> PathBuf {
        self.environment.path(repository)
    }

    fn git(&self, repository: &str, arguments: &[&str]) -> String {
        succeed(self.environment.command("git").args(arguments).current_dir(self.path(repository)))
    }

    /// The first one again, under another name, in one pack.
    fn copy(&self, name: &str) {
        self.git("ours.git", &["repack", "-adq"]);
        succeed(self.environment.command("cp").arg("-a").arg(self.path("ours.git")).arg(self.path(name)));
    }

    /// A service of this repository: the first time the repository is laid out.
    fn service(&self, directory: &'a TestEnvironment, line: Option<&Line>) -> ServerBuilder<'a> {
        let url = self.site.plain_url("ours.git", line.map(Line::address));
        let settings = [
            ("URL", url.as_str()),
            ("CREDENTIALS__USERNAME", LOGIN.0),
            ("CREDENTIALS__PASSWORD", LOGIN.1),
            ("POLL_INTERVAL", "1h"),
        ];
        let mut init = directory.kmlflow(["init", "--output", "json"]);
        let mut builder =
            directory.server().env("KMLFLOW__ENVIRONMENTS__PRODUCTION__NEW_RELEASES_PER_MINUTE", "10000000");
        for (name, value) in settings {
            let name = format!("KMLFLOW__GIT__{name}");
            init.env(&name, value);
            builder = builder.env(&name, value);
        }
        succeed(&mut init);
        builder
    }

    /// Commits that are ready to be pushed, one on top of the other, each a new version in the files of one release. The first is the
    /// branch's tip.
    fn ready(&self, repository: &str, commits: usize) -> Vec<String> {
        let files = self.git(repository, &["ls-tree", "-r", "--name-only", "main"]);
        let releases: Vec<&str> = files.lines().filter(|path| path.ends_with("/release.yaml")).collect();
        let mut stream = String::new();
        for number in 0..commits {
            let release = releases[number * 7919 % releases.len()];
            let text = self.git(repository, &["show", &format!("main:{release}")]) + &format!("# {number}\n");
            let parent = if number == 0 { "from refs/heads/main^0\n" } else { "" };
            let message = format!("ready {number}");
            stream += &format!(
                "commit refs/heads/ready\nmark :{}\ncommitter Ann <ann@example.org> 0 +0000\ndata {}\n{message}\n{parent}M 100644 inline {release}\ndata {}\n{text}\n",
                number + 1,
                message.len(),
                text.len()
            );
        }
        let input = self.environment.write("ready", stream);
        let mut import = self.environment.command("git");
        import.args(["fast-import", "--quiet"]).stdin(fs::File::open(input).expect("commits"));
        succeed(import.current_dir(self.path(repository)));
        let list = self.git(repository, &["rev-list", "--reverse", "main^..ready"]);
        list.lines().map(ToOwned::to_owned).collect()
    }
}

/// Pushes commits that are ready, one after the other.
trait Pusher {
    /// One push, in milliseconds.
    fn push(&mut self) -> f64;
}

/// `git push`, from a clone that has the commits.
struct GitPush<'a> {
    site: &'a Site<'a>,
    url: String,
    commits: Vec<String>,
    at: usize,
}

impl<'a> GitPush<'a> {
    fn new(site: &'a Site<'a>, commits: usize, line: Option<&Line>) -> Self {
        site.copy("theirs.git");
        site.copy("clone.git");
        let commits = site.ready("clone.git", commits);
        let address = site.site.plain_url("theirs.git", line.map(Line::address));
        let (user, password) = LOGIN;
        Self { site, url: address.replacen("://", &format!("://{user}:{password}@"), 1), commits, at: 0 }
    }
}

impl Pusher for GitPush<'_> {
    fn push(&mut self) -> f64 {
        self.at += 1;
        let mut command = self.site.environment.command("git");
        command.args(["push", "-q", &self.url, &format!("{}:refs/heads/main", self.commits[self.at])]);
        command.current_dir(self.site.path("clone.git"));
        timed(&mut command)
    }
}

/// A pack that is ready, into `git receive-pack`: what no push can be faster than.
struct Floor<'a> {
    site: &'a Site<'a>,
    requests: Vec<PathBuf>,
    at: usize,
}

impl<'a> Floor<'a> {
    fn new(site: &'a Site<'a>, commits: usize) -> Self {
        site.copy("floor.git");
        site.copy("packs.git");
        let ids = site.ready("packs.git", commits);
        let requests =
            ids.windows(2).enumerate().map(|(number, pair)| site.request(number, &pair[0], &pair[1])).collect();
        Self { site, requests, at: 0 }
    }
}

impl Site<'_> {
    /// The bytes of a push, as a file.
    fn request(&self, number: usize, old: &str, new: &str) -> PathBuf {
        let list = self.environment.write("revisions", format!("{new}\n^{old}\n"));
        let mut pack = self.environment.command("git");
        pack.args(["pack-objects", "-q", "--revs", "--thin", "--stdout"]).stdin(fs::File::open(list).expect("a list"));
        let pack = pack.current_dir(self.path("packs.git")).stderr(Stdio::inherit()).output().expect("a pack").stdout;
        let line = format!("{old} {new} refs/heads/main\0 report-status");
        let mut request = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
        request.extend(pack);
        self.environment.write(format!("requests/{number}"), request)
    }
}

impl Pusher for Floor<'_> {
    fn push(&mut self) -> f64 {
        let request = fs::File::open(&self.requests[self.at]).expect("a request");
        self.at += 1;
        let mut command = self.site.environment.command("git");
        command.args(["receive-pack", "--stateless-rpc"]).arg(self.site.path("floor.git"));
        timed(command.stdin(request))
    }
}

fn timed(command: &mut Command) -> f64 {
    let began = Instant::now();
    drop(succeed(command));
    ms(began.elapsed())
}

fn idle_with(bench: &Bench, report: &mut Report, releases: usize) {
    let Sizes { rounds, namespaces, .. } = bench.sizes;
    let [behind, directory] = [(); 2].map(|()| TestEnvironment::below(&bench.folder));
    let site = Site::new(&behind);
    let line = Line::to(site.site.plain_address(), Duration::ZERO);
    let server = site.service(&directory, Some(&line)).start();
    fill(&server, releases, namespaces);
    let commits = rounds * CHUNK + 1;
    let (mut git, mut floor) = (GitPush::new(&site, commits, None), Floor::new(&site, commits));
    let mut caller = Caller::new(&server);
    let (mut of_git, mut of_floor, mut all, mut processor) = (Vec::new(), Vec::new(), [const { Vec::new() }; 3], 0.0);
    let (mut number, mut counted) = (0, [0; 2]);
    for _ in 0..rounds {
        caller.connect_again(&server);
        let mut put = || {
            number = (number + 7919) % releases;
            caller.put(&namespace_of(number, namespaces), &format!("m{number}"))
        };
        // The first one pays for the connections.
        put();
        let (used, before) = (processor_seconds(server.pid()), line.counted());
        let ours: Vec<f64> = (0..CHUNK).map(|_| put()).collect();
        processor += processor_seconds(server.pid()) - used;
        counted.iter_mut().zip(line.counted()).zip(before).for_each(|((sum, after), before)| *sum += after - before);
        let [by_git, at_least]: [Vec<f64>; 2] =
            [&mut git as &mut dyn Pusher, &mut floor].map(|pusher| (0..CHUNK).map(|_| pusher.push()).collect());
        of_git.push(median(&ours) / median(&by_git));
        of_floor.push(median(&ours) / median(&at_least));
        all.iter_mut().zip([ours, by_git, at_least]).for_each(|(all, some)| all.extend(some));
    }
    let [connections, exchanges] = counted;
    let pushes = (rounds * CHUNK) as f64;
    let what = format!("request → pushed over http with {releases} present, idle, p50");
    report.at_most(&format!("{what}, of `git push` of one ready commit {}", range(&of_git)), median(&of_git), 0.9, "x");
    report.at_most(
        &format!("{what}, of a ready pack into receive-pack {}", range(&of_floor)),
        median(&of_floor),
        2.5,
        "x",
    );
    let told = all.map(|took| format!("{:.1} ms", median(&took))).join("; ");
    report.beside("the same by itself; `git push`; receive-pack", told);
    report.counted("exchanges of a push on a connection that is there", exchanges as f64 / pushes, 1.0..=1.0);
    report.counted("connections made meanwhile", connections as f64, 0.0..=0.0);
    let script: Vec<f64> = (0..rounds.min(3)).map(|round| scripted(&site, &directory, round)).collect();
    let ours = processor / pushes;
    let what = format!("processor time of a release with {releases} present, of a script's clone, commit and push");
    if releases >= bench.sizes.elsewhere[2] {
        report.at_most(&what, ours / median(&script), 0.1, "x");
    }
    let told = format!("{:.1} ms; {:.1} ms", ours * 1000.0, median(&script) * 1000.0);
    report.beside("processor time of a release; of the script, without what its server does", told);
    report.beside("memory", format!("{:.0} MiB", resident_mib_max(server.pid())));
}

/// What a script does for one release: clone, change, commit, push. Seconds of processor time.
fn scripted(site: &Site<'_>, directory: &TestEnvironment, round: usize) -> f64 {
    let url = site.site.plain_url("theirs.git", None).replacen("://", &format!("://{}:{}@", LOGIN.0, LOGIN.1), 1);
    let place = directory.path(format!("script-{round}"));
    let before = children_seconds();
    succeed(directory.command("git").args(["clone", "-q", "--depth=1", &url]).arg(&place));
    let git = |arguments: &[&str]| {
        let mut command = directory.command("git");
        command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]).args(arguments);
        succeed(command.current_dir(&place))
    };
    let files = git(&["ls-files"]);
    let release = files.lines().find(|path| path.ends_with("/release.yaml")).expect("a release");
    let text = fs::read_to_string(place.join(release)).expect("a release");
    fs::write(place.join(release), format!("{text}# {round}\n")).expect("a file");
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "scripted"]);
    git(&["push", "-q", "origin", "HEAD:main"]);
    let took = children_seconds() - before;
    fs::remove_dir_all(&place).expect("a clone");
    took
}

/// Seconds of processor time of the programs that this one has waited for.
fn children_seconds() -> f64 {
    crate::machine::processor_seconds_of_children(std::process::id())
}

/// Over a long line: what waits together, and what keeps arriving.
fn far_by(bench: &Bench, report: &mut Report, round_trip: Duration) {
    let [behind, directory] = [(); 2].map(|()| TestEnvironment::below(&bench.folder));
    let site = Site::new(&behind);
    let line = Line::to(site.site.plain_address(), round_trip);
    let server = site.service(&directory, Some(&line)).start();
    let named = format!("{} ms to the remote and back", round_trip.as_millis());
    fill(&server, 2, 1);
    let waiting = WAITING.min(bench.sizes.backlog);
    server.api("POST", "/hold", Some(&json!({"reason": "bench"}))).expect(200);
    let secret = server.secret(Signing::Standard);
    let wishes: Vec<Request> = (0..waiting).map(|number| wish("models", &format!("w{number}")).sign(&secret)).collect();
    post_all(server.address(), &wishes, 202);
    let began = Instant::now();
    server.api("DELETE", "/hold", None).expect(200);
    drained(&server);
    let together = waiting as f64 / began.elapsed().as_secs_f64();
    let mut git = GitPush::new(&site, ALONE + 1, Some(&line));
    let alone: Vec<f64> = (0..ALONE).map(|_| 1000.0 / git.push()).collect();
    let what = format!("{waiting} requests that waited, {named}: releases a second, of one `git push` for each");
    if round_trip >= Duration::from_millis(300) {
        report.at_least(&what, together / median(&alone), 40.0, "x");
    }
    report.beside(&format!("the same, {named}: a second; one by one"), format!("{together:.0}; {:.1}", median(&alone)));
    let seconds = bench.sizes.arriving;
    let behind: Vec<f64> = [seconds / 2, seconds].into_iter().map(|seconds| arrive(&server, seconds)).collect();
    let what = format!(
        "{ARRIVALS_PER_SECOND} deliveries a second, {named}: until the last is pushed, after {seconds} s of it"
    );
    report.at_most(&what, behind[1], 2.0, " s");
    report.beside("the same after half as long", format!("{:.2} s", behind[0]));
}

/// Deliveries at a steady pace for so many seconds; how many more until the last one is pushed.
fn arrive(server: &Server<'_>, seconds: u32) -> f64 {
    let secret = server.secret(Signing::Standard);
    let mut connection = tests::Connection::open(server.address());
    let began = Instant::now();
    for number in 1..=ARRIVALS_PER_SECOND * seconds {
        let name = format!("a{}", number % 100);
        let body = json!({"name": name, "namespace": "models", "environment": "production", "model": name, "version": number.to_string(), "image": format!("registry.example/{name}:{number}")});
        let request = Delivery::generic(&format!("{seconds}-{number}"), &body).sign(&secret);
        pause(
            (began + Duration::from_secs(1) / ARRIVALS_PER_SECOND * number).saturating_duration_since(Instant::now()),
        );
        drop(connection.send(&request).expect(202));
    }
    let ended = Instant::now();
    drained(server);
    ended.elapsed().as_secs_f64()
}

/// A large repository: the first push of a service that has nothing, and its memory.
pub fn large(bench: &Bench, report: &mut Report) {
    let Sizes { elsewhere: [.., many], most_elsewhere, namespaces, .. } = bench.sizes;
    let [behind, filling] = [(); 2].map(|()| TestEnvironment::below(&bench.folder));
    let site = Site::new(&behind);
    let server = site.service(&filling, None).start();
    fill(&server, many, namespaces);
    site.git("ours.git", &["repack", "-adq"]);
    let first = begin(&bench.folder, &site);
    report.at_most(&format!("from a start with nothing to the first push with {many} present"), first.0, 3.0, " s");
    report.beside("its memory", format!("{:.0} MiB", first.1));
    fill_with(&server, many..most_elsewhere, namespaces);
    drop(server);
    site.git("ours.git", &["repack", "-adq"]);
    let (seconds, memory) = begin(&bench.folder, &site);
    report.at_most(&format!("memory of a service with {most_elsewhere} releases elsewhere"), memory, 128.0, " MiB");
    report.beside("its first push, from a start with nothing", format!("{seconds:.2} s"));
}

/// Starts a service in an empty directory: seconds until it has pushed a release, and its memory in MiB after some more, once it has the history.
fn begin(folder: &Path, site: &Site<'_>) -> (f64, f64) {
    let directory = TestEnvironment::below(folder);
    let builder = site.service(&directory, None).ready_within(FIRST_START_MAX);
    let began = Instant::now();
    let server = builder.start();
    let mut caller = Caller::new(&server);
    caller.put("ns0", "m0");
    let took = began.elapsed().as_secs_f64();
    for _ in 0..CHUNK {
        caller.put("ns0", "m0");
    }
    while server.api("GET", "/releases/production/ns0/m0/history", None).status != 200 {}
    (took, resident_mib_max(server.pid()))
}
