<%@ include file="/WEB-INF/common.jspf" %><%@ page buffer="256kb" %><!DOCTYPE html>
<html lang="zh-Hans">
<head><meta charset="UTF-8"><title>登录 - HIS</title><link rel="stylesheet" href="style.css"></head>
<body>
<nav><b>HIS</b> <a href="login.jsp">登录</a> <a href="divisions.jsp">行政区划</a> <a href="departments.jsp">科室</a> <a href="materials.jsp">物料</a></nav>
<h1>登录</h1>
<%@ page import="javax.crypto.SecretKeyFactory, javax.crypto.spec.PBEKeySpec, java.security.MessageDigest" %>
<%
    request.setCharacterEncoding("UTF-8");
    String name = request.getParameter("name"), password = request.getParameter("password"), said = "";
    try (Connection db = open()) {
        if ("POST".equals(request.getMethod()) && name != null && password != null) {
            List<Object[]> found = rows(db, "select salt, iterations, hash from users where name = ?", name);
            boolean good = false;
            if (!found.isEmpty()) {
                Object[] row = found.get(0);
                PBEKeySpec spec = new PBEKeySpec(password.toCharArray(), (byte[]) row[0], (Integer) row[1], 256);
                byte[] hash = SecretKeyFactory.getInstance("PBKDF2WithHmacSHA256").generateSecret(spec).getEncoded();
                good = MessageDigest.isEqual(hash, (byte[]) row[2]);
            }
            if (good) request.changeSessionId();
            if (good) session.setAttribute("user", name);
            said = good ? "登录成功:" + name : "用户名或口令不正确";
        }
%>
<form method="post" action="login.jsp">
  <label>用户名 <input name="name" autocomplete="username" required></label>
  <label>口令 <input name="password" type="password" autocomplete="current-password" required></label>
  <button>登录</button>
</form>
<p><%= html(said) %></p>
<p class="note">系统账号 <%= html(one(db, "select count(*) from users")) %> 个</p>
<%  } %>
</body></html>
