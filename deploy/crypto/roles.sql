-- The database of the crypto service, run once by PostgreSQL's image on new data. The owner makes
-- the tables and sees all rows; the application has the rights of the roles that it joins.
CREATE ROLE secmesh_owner LOGIN BYPASSRLS;
CREATE ROLE secmesh_application LOGIN NOBYPASSRLS;
CREATE ROLE pii_read NOLOGIN;
CREATE ROLE pii_write NOLOGIN;
CREATE ROLE pii_audit NOLOGIN;
CREATE ROLE pii_audit_append NOLOGIN;
GRANT pii_write, pii_audit, pii_audit_append TO secmesh_application;
CREATE DATABASE crypto OWNER secmesh_owner;
REVOKE ALL ON DATABASE crypto FROM PUBLIC;
GRANT CONNECT ON DATABASE crypto TO secmesh_application;
