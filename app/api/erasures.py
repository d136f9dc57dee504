"""`/v1/erasures`: erasing calls and subjects, with a receipt; and `DELETE /v1/calls/{call_id}`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from app.access.principal import Principal, Scope
from app.api.bodies import strict_body
from app.api.cursors import seal, unseal
from app.api.deps import ServicesDep, requires
from app.api.errors import ProblemError
from app.api.privacy_bodies import ErasureBody, ErasureRequest, ReceiptKeyBody
from app.api.protocol import Listing, Problem
from app.api.queries import CallId, Cursor, Limit, known_query
from app.privacy.erase import ErasureNotFoundError
from app.privacy.receipts import ALGORITHM

_LIST = "erasures"
_REFUSED: dict[int | str, dict[str, Any]] = {401: {"model": Problem}, 403: {"model": Problem}}
_PENDING: dict[int | str, dict[str, Any]] = {
    202: {
        "model": ErasureBody,
        "description": "Accepted: carried out when the store is back, or the call has ended.",
    },
    409: {"model": Problem, "description": "The call is live."},
    503: {"model": Problem},
}

router = APIRouter(
    prefix="/v1",
    tags=["privacy"],
    dependencies=[Depends(known_query)],
    responses={**_REFUSED, 422: {"model": Problem}},
)
Eraser = Annotated[Principal, Depends(requires(Scope.ERASE))]
ErasureId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$", description="The erasure's id.")]


@router.delete(
    "/calls/{call_id}",
    summary="Erase a call",
    response_model=ErasureBody,
    responses={**_PENDING, 404: {"model": Problem}},
)
async def erase_call(
    call_id: CallId, services: ServicesDep, principal: Eraser, response: Response
) -> dict[str, Any]:
    """Removes everything held of an ended call, everywhere, and answers with the receipt."""
    erasure = await services.privacy.erasures.erase(principal, call_id=call_id, must_exist=True)
    return _answer(erasure, response)


@router.post(
    "/erasures",
    summary="Erase a call, or everything of a subject",
    response_model=ErasureBody,
    responses={**_PENDING, 413: {"model": Problem}, 415: {"model": Problem}},
)
async def erase(
    services: ServicesDep,
    principal: Eraser,
    wish: Annotated[ErasureRequest, Depends(strict_body(ErasureRequest))],
    response: Response,
) -> dict[str, Any]:
    """Also answers with a receipt where nothing is held. A subject's live calls are erased once they have ended."""
    erasure = await services.privacy.erasures.erase(
        principal, call_id=wish.call_id, subject=wish.subject, when_ended=wish.when_ended
    )
    return _answer(erasure, response)


@router.get(
    "/erasures",
    summary="Erasures and their receipts, latest first",
    response_model=Listing[ErasureBody],
    responses={503: {"model": Problem}},
)
async def list_erasures(
    services: ServicesDep, principal: Eraser, cursor: Cursor = None, limit: Limit = 50
) -> dict[str, Any]:
    """One page. Receipts name nobody; they are kept as long as the audit log."""
    page = await services.privacy.erasures.page(principal.tenant, cursor=unseal(cursor, _LIST), limit=limit)
    return {"items": list(page.items), "next": seal(page.next, _LIST)}


@router.get("/erasures/key", summary="The key that checks receipts", response_model=ReceiptKeyBody)
async def receipt_key(services: ServicesDep, _: Eraser) -> dict[str, str]:
    """Keep it where you will trust it: whoever checks a receipt must not take the key from the same hands."""
    signer = services.privacy.erasures.signer
    return {"algorithm": ALGORITHM, "key": signer.key, "public_key": signer.public_key}


@router.get(
    "/erasures/{erasure_id}",
    summary="One erasure",
    response_model=ErasureBody,
    responses={404: {"model": Problem}, 503: {"model": Problem}},
)
async def get_erasure(erasure_id: ErasureId, services: ServicesDep, principal: Eraser) -> dict[str, Any]:
    """Whether it is done, and its receipt."""
    try:
        return await services.privacy.erasures.get(principal.tenant, erasure_id)
    except ErasureNotFoundError:
        raise ProblemError(
            404, "erasure_not_found", "No such erasure", "no erasure with this id, or its receipt is too old"
        ) from None


def _answer(erasure: dict[str, Any], response: Response) -> dict[str, Any]:
    response.status_code = 200 if erasure["status"] == "done" else 202
    response.headers["Location"] = f"/v1/erasures/{erasure['id']}"
    return erasure
