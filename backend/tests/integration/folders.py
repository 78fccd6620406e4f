"""Folders of the interchange format to import, and what a database holds afterwards."""

from pathlib import Path

import psycopg

from eventlink.db.interchange import load
from eventlink.db.interchange.tables import TABLES
from eventlink.db.session import transaction
from eventlink.importers.interchange import Imported, export_folder, import_folder
from eventlink.recsys.progress import silent

TOWN = {
    "users": "id,role,city,lat,lon,language,is_active,full_name,created_at\n"
    '1,student,"Cluj, RO",46.77,23.6,ro,true,"Ana ""Anca"" Pop",2024-01-01T00:00:00Z\n'
    "2,organizer,,,,,false,,\n"
    "7,admin,Iași 😀,-90.0,180.0,en,true,Ion,2024-01-01T00:00:00.000001Z\n",
    "user_interest_tags": "user_id,tag,created_at\n"
    "1,Jazz,2024-02-01T10:00:00Z\n"
    '1,"a,\nb",\n'
    "2,jazz,\n",
    "events": "id,title,category,city,venue_id,lat,lon,owner_id,start_time,created_at,max_seats,"
    "description,end_time,status,publish_at,deleted_at\n"
    '10,"Jazz, la ""Tură""",Music,Cluj,v1,46.77,23.6,2,2024-03-01T18:00:00Z,2024-02-01T00:00:00Z,'
    '50,"line one\nline two",2024-03-01T20:00:00.5Z,draft,2024-02-02T00:00:00Z,2024-02-20T00:00:00Z\n'
    '11,"",,,,,,,2024-03-02T18:00:00Z,,0,,,cancelled,,\n'
    "12,NULL,\\N, spaced ,'q',0.0,1e-05,7,2024-03-02T18:00:00.123456Z,,,,,published,,\n",
    "event_tags": "event_id,tag\n10,Jazz\n10,Folk\n11,Jazz\n",
    "registrations": "user_id,event_id,registered_at,attended,unregistered_at\n"
    "1,10,2024-02-03T00:00:00Z,true,\n"
    "1,11,2024-02-03T00:00:00Z,,2024-02-04T00:00:00Z\n"
    "1,11,2024-02-05T00:00:00Z,false,\n"
    "2,10,2024-02-03T00:00:00.25Z,,2024-02-03T00:00:00.25Z\n",
    "favorites": "user_id,event_id,created_at\n1,10,2024-02-03T00:00:00Z\n7,11,\n",
    "interactions": "user_id,event_id,occurred_at,interaction_type,position,request_id,"
    "dwell_seconds,meta,client_id,source,model_version,experiment,arm\n"
    "1,10,2024-02-03T00:00:00Z,impression,0,r1,,,,cache,trees-2,1,treatment\n"
    '1,10,2024-02-03T00:00:00Z,impression,0,r1,,,,cache,"",,\n'
    "1,10,2024-02-03T00:00:00Z,impression,0,r1,,,,heuristic,,,\n"
    "1,10,2024-02-03T00:00:00Z,impression,0,r1,,,,heuristic,,1,control\n"
    "1,10,2024-02-03T00:00:05Z,dwell,,r1,0.1,,c-1,,,,\n"
    '1,,2024-02-03T00:00:06Z,search,,,,"{""tags"": [""Jazz""], ""query"": ""caf\u00e9 \\""x\\""""}",,,,,\n'
    '1,,2024-02-03T00:00:06Z,search,,,,"{""query"": ""folk""}",,,,,\n'
    ",11,2024-02-03T00:00:07Z,view,,,,,,,,,\n"
    ",11,2024-02-03T00:00:07Z,view,,,3.5,,,,,,\n",
    "follows": "user_id,owner_id,created_at\n1,2,2024-02-03T00:00:00Z\n7,2,\n",
    "hidden_tags": "user_id,tag,created_at\n1,Rock,2024-02-03T00:00:00Z\n",
    "blocked_organizers": "user_id,owner_id,created_at\n2,7,2024-02-03T00:00:00Z\n",
}
"""Every table and column, and texts that are easy to get wrong."""

SMALL = {
    "users": "id,role,lat\n1,student,46.77\n2,organizer,\n",
    "events": "id,owner_id,start_time\n10,2,2024-03-01T18:00:00Z\n",
}


def folder_of(path: Path, tables: dict[str, str]) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in tables.items():
        (path / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    return path


def bring_in(
    folder: Path, *, replace: bool = False, bad_rows: Path | None = None
) -> dict[str, Imported]:
    with transaction() as conn:
        files = import_folder(conn, folder, silent, replace=replace, bad_rows=bad_rows)
    return {file.file.split(".")[0]: file for file in files}


def take_out(folder: Path, ending: str = ".csv", *, force: bool = False) -> dict[str, int]:
    with transaction() as conn:
        return {
            each.file: each.rows
            for each in export_folder(conn, folder, ending, silent, force=force)
        }


def content(database: str) -> dict[str, list[str]]:
    """Everything the format can say of a database, and how many rows the tables really have."""
    with psycopg.connect(database) as conn:
        rows = {
            name: sorted(
                row
                for (row,) in conn.execute(
                    f"SELECT (to_jsonb(v) - 'same')::text FROM ({table.view}) AS v"  # type: ignore[arg-type]
                )
            )
            for name, table in TABLES.items()
        }
        for table in (*load.ACT_TABLES, *load.ROOT_TABLES):
            rows[f"all {table}"] = [str(conn.execute(f"SELECT count(*) FROM {table}").fetchone())]  # type: ignore[arg-type]
    return rows


def one(database: str, query: str) -> object:
    with psycopg.connect(database) as conn:
        row = conn.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0] if len(row) == 1 else row
