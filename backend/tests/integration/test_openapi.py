"""What the OpenAPI document says, and nothing else, is what the application does."""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as examples
from hypothesis import strategies as st
from integration.sites import Site
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

EXAMPLES = 4
"""Valid and invalid requests to each route, in each role."""
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
SUICIDAL = {"DELETE /api/auth/me", "POST /api/auth/logout-everywhere", "POST /api/auth/password"}
"""After these the role's token is worth nothing; they come last."""


def send(client: TestClient, case: Case, headers: dict[str, str]) -> Any:
    asked = case.as_transport_kwargs(base_url="http://testserver", headers=headers)
    asked["content"] = asked.pop("data", None)
    del asked["cookies"]  # we have none
    return client.request(**{name: value for name, value in asked.items() if value is not None})


@pytest.mark.parametrize(
    "role",
    [*(pytest.param(role, marks=pytest.mark.once) for role in ("student", "organizer")), "admin"],
)
def test_every_answer_is_one_that_the_document_describes(
    role: str, city: Site, client: TestClient, sign_in: Callable[[int], dict[str, str]]
) -> None:
    ((user_id,),) = city.run(
        "UPDATE users SET role = %s WHERE id = (SELECT max(owner_id) FROM events) RETURNING id",
        role,
    )
    headers = sign_in(user_id)
    assert isinstance(client.app, FastAPI)
    schema = schemathesis.openapi.from_dict(client.app.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in sorted(operations, key=lambda operation: operation.label in SUICIDAL):
        requests = st.one_of(*(operation.as_strategy(mode) for mode in GenerationMode))

        @seed(1)
        @examples(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=requests)
        def check(case: Case) -> None:
            case.validate_response(send(client, case, headers), checks=CHECKS)

        check()
