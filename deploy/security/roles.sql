-- The database of the security service, run once by PostgreSQL's image on new data. The owner
-- makes the tables, sees all rows and writes who was removed; the application has no rights but
-- those the owner gives it.
CREATE ROLE secmesh_owner LOGIN BYPASSRLS;
CREATE ROLE secmesh_application LOGIN NOBYPASSRLS;
CREATE DATABASE security OWNER secmesh_owner;
REVOKE ALL ON DATABASE security FROM PUBLIC;
GRANT CONNECT ON DATABASE security TO secmesh_application;
