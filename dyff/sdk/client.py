"""The clients. Each holds the server's address, a token, and a group for each kind of resource."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self

import httpx

from dyff.entities import showing
from dyff.kernel import suggestions
from dyff.sdk import arguments, calls, comparing, errors, folders, following, found, groups, io, paging, reproducing, transport
from dyff.sdk import models as sdk_models
from dyff.sdk.accounts import Accounts
from dyff.sdk.calls import Awaited, Blocking, S, iteration, operation

if TYPE_CHECKING:  # at run time, `found` loads them and names any that is missing
    from dyff.sdk.kinds import (
        dataset,
        evaluation,
        family,
        hazard,
        inference_service,
        inference_session,
        measurement,
        method,
        model,
        module,
        report,
        safety_case,
        use_case,
    )

DEFAULT_ENDPOINT = "http://127.0.0.1:8000/v0"
TIMEOUT_S = 60.0
MAX_CONNECTIONS = 64


class _Server(calls.Bound[S], Generic[S]):
    """The common base of both clients: the groups, on top of one kind of I/O."""

    _io: type[io.Blocking] | type[io.Awaited]

    datasets: dataset.Datasets[S]
    evaluations: evaluation.Evaluations[S]
    families: family.Families[S]
    hazards: hazard.Hazards[S]
    inferenceservices: inference_service.InferenceServices[S]
    inferencesessions: inference_session.InferenceSessions[S]
    measurements: measurement.Measurements[S]
    methods: method.Methods[S]
    models: model.Models[S]
    modules: module.Modules[S]
    reports: report.Reports[S]
    safetycases: safety_case.SafetyCases[S]
    usecases: use_case.UseCases[S]

    def __init__(
        self,
        *,
        api_token: str | None = None,
        endpoint: str | None = None,
        insecure: bool = False,
        timeout: float | httpx.Timeout = TIMEOUT_S,
        retries: int = transport.RETRIES,
        http: Any = None,
    ) -> None:
        """Create a client; it connects on first use.

        Args:
            api_token: A token, which `dyff token create` makes. None for the one in `DYFF_API_TOKEN`.
            endpoint: The API's address, which ends in `/v0`; that of a server alone, such as `http://host:8000`, gets it. None for
                `DYFF_API_ENDPOINT`, or port 8000 of this machine if that is not set.
            insecure: Accept any TLS certificate; use it only for tests. `DYFF_API_INSECURE=1` does the same.
            timeout: The time limit for a single answer, in seconds.
            retries: The most retries of a request that is safe to repeat.
            http: An httpx transport to use in place of the network, for tests. None for the network.

        Raises:
            ValueError: no token was given, or it is not one, or the endpoint is no URL of an API.
        """
        token = api_token or os.environ.get("DYFF_API_TOKEN")
        if not token:
            raise ValueError("a token is needed: pass api_token, or set DYFF_API_TOKEN to what 'dyff token create' printed")
        self.endpoint = transport.endpoint_of(endpoint or os.environ.get("DYFF_API_ENDPOINT") or DEFAULT_ENDPOINT)
        self.insecure = insecure or os.environ.get("DYFF_API_INSECURE", "0").lower() in ("1", "true")
        self.timeout = timeout
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS // 2)
        options = {"timeout": timeout, "limits": limits, "verify": not self.insecure, "transport": http}
        self._http = transport.Transport(self._io(**options), self.endpoint, token, retries=retries)
        mode: dict[str, Any] = {"is_blocking": self._is_blocking}
        self.accounts: Accounts[S] = Accounts(self._http, **mode)
        self._groups: dict[str, groups.Group[S, Any]] = {}
        for plural, (row, group) in found.groups_of(type(self)).items():
            self._groups[row.name] = group(self._http, row, **mode)
            setattr(self, plural, self._groups[row.name])
        self.tokens = folders.Tokens()
        self.volumes = folders.Volumes()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(endpoint={showing.unsigned(self.endpoint)!r})"

    def apigroup(self, kind: str) -> Any:
        """Return the group of a kind, by the kind's name.

        Raises:
            ValueError: the kind does not exist.

        Example:
            `client.apigroup("Dataset").get(id)`
        """
        known = {"Account": self.accounts, **self._groups}
        if (name := str(getattr(kind, "value", kind))) not in known:
            near = suggestions.nearest(name, known)
            meant = "" if near is None else f"did you mean {near!r}? "
            raise ValueError(f"there is no kind {name!r}; {meant}known are {', '.join(known)}")
        return known[name]

    @operation
    async def get(self, entity: sdk_models.Identified) -> Any:
        """Fetch the current state of an entity. `entity`: anything with `kind` and `id`.

        Example:
            `evaluation = client.get(evaluation)`
        """
        arguments.entity(entity, "entity", None, "kind")
        return await self._inside().apigroup(entity.kind)._inside().get(entity.id)

    @operation
    async def compare(
        self, a: comparing.Measured | Sequence[comparing.Measured], b: comparing.Measured | None = None, score: str | None = None
    ) -> sdk_models.Comparisons:
        """Compare two systems, or several, on the same items: the difference with its interval, and whether it is shown.

        Print the result: it has a line for each system, and says of each pair what is better, or that no difference is shown.

        Args:
            a: A measurement, a safety case that reads one, or the ID of either. Or a list of 2 to 8 of these.
            b: The second one; the difference is b minus a. None if `a` is a list.
            score: The name of the score. None for the primary one.

        Raises:
            Refused: they cannot be compared; the message says why.

        Example:
            `print(client.compare(measurement.id, other.id, "accuracy"), client.compare([one.id, two.id, three.id]))`
        """
        params = comparing.parameters(a, b, score)
        return sdk_models.read(await self._http.call("GET", "/comparisons", params=params), sdk_models.Comparisons)

    @operation
    async def comparables(self, entities: Sequence[comparing.Comparable]) -> sdk_models.Comparables:
        """Return by which measurements evaluations, safety cases or measurements can be compared, and why others cannot.

        Args:
            entities: From 2 to 8 of these, or their IDs.

        Raises:
            Missing, NotAllowed: there is no such entity, or the token may not read it.

        Example:
            `client.compare([each.measurement for each in client.comparables([one.id, two.id]).choices[0].members])`
        """
        params = {"ids": comparing.several(entities, "entities")}
        return sdk_models.read(await self._http.call("GET", "/comparisons/choices", params=params), sdk_models.Comparables)

    @iteration
    async def differing(
        self: _Server[Awaited],
        measured: Sequence[comparing.Measured],
        /,
        score: str | None = None,
        *,
        between: tuple[comparing.Measured, comparing.Measured] | None = None,
        higher: comparing.Measured | None = None,
        show: Literal["differing", "unpaired", "all"] = "differing",
    ) -> AsyncIterator[sdk_models.DifferingItem]:
        """Iterate over the items on which systems differ, by index and replication, each with the value of every system.

        `measured`: from 2 to 8 measurements, safety cases that read one, or their IDs. `score`: its name; None for the primary one.
        `between`: two of them, which alone decide whether an item fits. `higher`: that one of the two whose value must be the higher one.
        `show`: `unpaired` for items with a verdict of some only, or `all`.

        Raises:
            Refused: they cannot be compared; the message says why.

        Example:
            `for each in client.differing([one.id, two.id]): print(each.index, each.values)`
        """
        params = comparing.of_items(measured, score, between, higher, show)

        async def page(after: str | None) -> sdk_models.DifferingItems:
            found = await self._http.call("GET", "/comparisons/items", params={**params, "after": after})
            return sdk_models.read(found, sdk_models.DifferingItems)

        async for each in paging.every(page, lambda found: found.items):
            yield each

    @operation
    async def leaderboard(
        self,
        method: sdk_models.Method | str,
        dataset: sdk_models.Dataset | str,
        *,
        score: str | None = None,
        reference: sdk_models.Measurement | str | None = None,
    ) -> sdk_models.Leaderboard:
        """Return the systems that a method has measured on a dataset, with the ranks that the data allows: ties share them.

        Of each system it has the latest measurement that the token may read. Print the result: it has a line for each system.

        Args:
            method: The method, or its ID.
            dataset: The dataset, or its ID.
            score: The name of the score. None for the primary one.
            reference: The measurement with which the others are compared. None for the one with the best score.

        Raises:
            Refused: the reference cannot be compared with the others; the message says why.

        Example:
            `print(client.leaderboard(method.id, dataset.id))`
        """
        params = {
            "method": comparing.identifier(method, "method"), "dataset": comparing.identifier(dataset, "dataset"),
            "score": arguments.key(score, "score"),
            "reference": None if reference is None else comparing.identifier(reference, "reference"),
        }  # fmt: skip
        return sdk_models.read(await self._http.call("GET", "/leaderboards", params=params), sdk_models.Leaderboard)

    @operation
    async def reproduce(
        self,
        entity: sdk_models.Identified | str,
        *,
        items: int = 0,
        account: str | None = None,
        tolerance: float = 0.0,
        exact: bool = False,
        timeout_s: float = 3600.0,
        progress: bool = True,
    ) -> sdk_models.Reproduced:
        """Run a safety case or a measurement again on the recorded data, and compare; ask the system some of the items again.

        The new run uses the same method, arguments, inputs, texts and seed. It is an entity of its own, whose field `reproduces` names the
        original. Items are asked in an evaluation of the same service on a new dataset of them; both have the label `reproduces`.

        Args:
            entity: What to reproduce, or its ID: a safety case, a measurement, or an evaluation, of which only items are asked again.
            items: How many items to ask again; 0 for none.
            account: The account of what is created; None for that of the original.
            tolerance: The largest relative difference of a score that counts as agreement.
            exact: Scores, files and answers must all be equal for the result to agree.
            timeout_s: How long to wait for each run.
            progress: Whether to show the progress.

        Raises:
            Missing, NotAllowed: there is no such entity, or the token may not read it, or not use what it was made of.
            Refused: something that it was made of was deleted.
            ValueError: it is not complete, or there are no items to ask.

        Example:
            `client.reproduce(safetycase.id, items=10).agrees`
        """
        if not 0 <= items <= reproducing.MAX_ITEMS:
            raise ValueError(f"items must be between 0 and {reproducing.MAX_ITEMS}, not {items}")
        if not 0 <= tolerance < 1:
            raise ValueError(f"tolerance is a relative difference from 0 to below 1, not {tolerance}")
        asked = reproducing.Asked(items, account, tolerance, exact, timeout_s, progress)
        inside: Any = self._inside()
        return await reproducing.reproduced(inside, await self._original(inside, entity), asked)

    async def _original(self, inside: Any, entity: sdk_models.Identified | str) -> Any:
        if not isinstance(entity, str):
            arguments.entity(entity, "entity", None, "kind")
            if entity.kind not in reproducing.KINDS:
                raise ValueError(f"a {entity.kind} cannot be reproduced; a safety case, a measurement and an evaluation can")
            return await reproducing.raw(inside, entity.kind, entity.id)
        missing: errors.SdkError | None = None
        for kind in reproducing.KINDS:
            try:
                return await reproducing.raw(inside, kind, entity)
            except (errors.Missing, errors.NotAllowed) as error:
                missing = error if missing is None or isinstance(error, errors.NotAllowed) else missing
        assert missing is not None
        raise missing

    @operation
    async def caller(self) -> sdk_models.Caller:
        """Return whose token this client has, until when it is good, and what it allows now.

        Raises:
            NotAuthenticated: the token is not valid (any more).

        Example:
            `client.caller().grants`
        """
        return sdk_models.read(await self._http.call("GET", "/caller"), sdk_models.Caller)

    @operation
    async def system(self) -> sdk_models.System:
        """Return the health of the roles and backends of the server, and the lag; the last hour is in `history`. Needs an operator's token.

        Example:
            `[each.role for each in client.system().roles if each.problem]`
        """
        return sdk_models.read(await self._http.call("GET", "/system"), sdk_models.System)

    @operation
    async def overview(self) -> sdk_models.Overview:
        """Return what runs, waits, has failed and is done of all that the token may query: counts up to a bound, and what changed last.

        Example:
            `{each.name: each.counts for each in client.overview().groups}`
        """
        return sdk_models.read(await self._http.call("GET", "/overview"), sdk_models.Overview)

    @iteration
    async def changes(
        self: _Server[Awaited],
        /,
        *,
        since: str | None = None,
        kind: str | None = None,
        account: str | None = None,
        id: str | None = None,  # noqa: A002
    ) -> AsyncIterator[sdk_models.Change]:
        """Iterate over changes of entities as they come, without an end. A lost connection is continued.

        `since`: the `resume` of an earlier change, after which to begin; None for now. `kind`: plural names, `account` and `id`: IDs, with
        commas; None for all that the token may see.

        Raises:
            Missing: not all changes since then are known any more, or the permissions have changed: query again, and begin without `since`.
            NotAuthenticated: the token is not valid any more.

        Example:
            `for each in client.changes(kind="evaluations"): print(each.id, each.status)`
        """
        given = {"kind": kind, "account": account, "id": id}
        async with aclosing(following.changes(self._http, given, since)) as found:
            async for each in found:
                yield each


class Client(_Server[Blocking]):
    """A client of a Dyff server.

    Its reads see everything that it has written, and it retries requests that are safe to repeat. It is thread-safe, and can be
    used inside a running event loop (Jupyter). Programs that create many clients should close them, or use them as context managers.

    Example:
        `client = Client(); print(client.evaluations.query(account="me"))`
    """

    _io = io.Blocking
    _is_blocking = True

    def close(self) -> None:
        """Close the connections.

        Example:
            `client.close()`
        """
        calls.run(self._http.io.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AsyncClient(_Server[Awaited]):
    """An asynchronous client of a Dyff server: like `Client`, but operations are awaited, or iterated with `async for`.

    A client belongs to the event loop on which it was first used.

    Example:
        `async with AsyncClient() as client: print(await client.evaluations.query(account="me"))`
    """

    _io = io.Awaited
    _is_blocking = False

    async def aclose(self) -> None:
        """Close the connections.

        Example:
            `await client.aclose()`
        """
        await self._http.io.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()
